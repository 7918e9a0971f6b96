"""Squared error on balanced classes: the phase transition of the bias penalty, and the frame without a bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layerwise.arguments import checked
from layerwise.theory.minimiser import Minimiser
from layerwise.theory.ranges import positive, require

__all__ = ["SquaredErrorMinimiser", "squared_error_minimiser"]


@dataclass(frozen=True, eq=False)
class SquaredErrorMinimiser(Minimiser):
    """Frame of the squared error, between simplex ETF and orthogonal.

    Attributes
    ----------
    apart : float
        Singular value ``a`` of the logits in the directions that separate classes.
    common : float
        Singular value ``c`` of the logits in the direction that all classes share; 0 for a simplex ETF, ``a`` for an
        orthogonal frame.
    etf : bool
        Whether the frame is a simplex ETF (with ``apart = 0``: whether features and classifier are zero).
    """

    apart: float
    common: float
    etf: bool


@checked()
def squared_error_minimiser(
    classes: int,
    samples: int,
    weight_decay: float,
    feature_decay: float,
    bias_decay: float = np.inf,
    *,
    dimension: int | None = None,
) -> SquaredErrorMinimiser:
    """Global minimiser of the balanced unconstrained features model under squared error, with a bias.

    For ``1/(2N) ||W H + b 1^T - Y||^2 + lW/2 ||W||^2 + lH/2 ||H||^2 + lb/2 ||b||^2`` with n samples in each of K
    classes, ``N = K n`` and ``m = sqrt(n lW lH)``, class means ``M``::

        logits       W M = a (I - 11^T/K) + c 11^T/K,  a = max(0, 1 - K m)
        c = 0,                bias 1/(K (1 + lb))      where lb/(1 + lb) <= K m
        c = 1 - K m - K m/lb, bias m/lb                otherwise
        classifier   W W^T = sqrt(n lH/lW) W M,  features M^T M = sqrt(lW/(n lH)) W M
        loss         (K-1) loss(a) + [(c + K b - 1)^2/(2K) + m c + lb K b^2/2],  loss(a) = (a - 1)^2/(2K) + m a

    So the frame is a simplex ETF while the bias is cheap. From ``lb/(1 + lb) = K m`` on it also spans the direction of
    the bias; without a bias (``lb = inf``) it is an orthogonal frame. Features and classifier are zero if and only if
    ``K m >= 1``.

    Assumes balanced classes, ``lW, lH > 0``, ``lb >= 0``, and d at least the rank of the logits: ``K - 1`` for the
    simplex ETF, K beyond the transition. For ``d >= K`` every other stationary point is a strict saddle.

    Parameters
    ----------
    classes, samples : int
        K, and n in each of them.
    weight_decay, feature_decay, bias_decay : float
        ``lW``, ``lH`` and ``lb``; infinite for no bias.
    dimension : int, optional
        Width d of the features, to be checked against the theorem.

    Raises
    ------
    OutOfRange
        If a parameter is outside the theorem.

    References
    ----------
    Zhou et al. 2022, On the optimization landscape of neural collapse under MSE loss.

    Examples
    --------
    >>> squared_error_minimiser(4, 25, 0.01, 0.01, bias_decay=0.0).etf
    True
    >>> frame = squared_error_minimiser(4, 25, 0.01, 0.01)
    >>> round(frame.apart, 6), round(frame.common, 6)
    (0.8, 0.8)
    """
    theorem = "the minimiser of the squared error (Zhou 2022)"
    positive(theorem, classes=classes - 1, samples=samples, weight_decay=weight_decay, feature_decay=feature_decay)
    require(bias_decay >= 0, theorem, f"bias_decay >= 0, not {bias_decay}")
    strength = float(np.sqrt(samples * weight_decay * feature_decay))
    free = bias_decay == np.inf
    apart = max(0.0, 1 - classes * strength)
    etf = apart == 0 or (not free and bias_decay / (1 + bias_decay) <= classes * strength)
    if etf:
        common, shift = 0.0, 0.0 if free else 1 / (classes * (1 + bias_decay))
    else:
        shift = 0.0 if free else strength / bias_decay
        common = 1 - classes * strength - classes * shift
    rank = 0 if apart == 0 else classes - 1 + (not etf)
    require(dimension is None or dimension >= rank, theorem, f"d >= {rank} here, not d = {dimension}")

    logits = apart * np.eye(classes) + (common - apart) / classes
    loss = (classes - 1) * ((apart - 1) ** 2 / (2 * classes) + strength * apart)
    loss += (common + classes * shift - 1) ** 2 / (2 * classes) + strength * common
    loss += 0.0 if free else bias_decay * classes * shift**2 / 2
    return SquaredErrorMinimiser(
        loss=float(loss),
        logits=logits,
        weight_gram=np.sqrt(samples * feature_decay / weight_decay) * logits,
        mean_gram=np.sqrt(weight_decay / (samples * feature_decay)) * logits,
        bias=np.full(classes, shift),
        apart=apart,
        common=common,
        etf=etf,
    )
