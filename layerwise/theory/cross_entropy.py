"""Cross entropy on balanced classes: free features with weight decay, and features on the sphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layerwise.arguments import checked
from layerwise.theory.frames import simplex_etf_gram
from layerwise.theory.minimiser import Minimiser
from layerwise.theory.ranges import positive, require

__all__ = ["CrossEntropyMinimiser", "cross_entropy_minimiser", "normalised_minimiser"]


@dataclass(frozen=True, eq=False)
class CrossEntropyMinimiser(Minimiser):
    """Simplex ETF of the cross entropy.

    Attributes
    ----------
    margin : float
        Difference of the logit of a sample's class and any other logit.
    zero : bool
        Whether the regularisation is so strong that features and classifier are zero.
    """

    margin: float
    zero: bool


@checked()
def cross_entropy_minimiser(
    classes: int, samples: int, weight_decay: float, feature_decay: float, *, dimension: int | None = None
) -> CrossEntropyMinimiser:
    """Global minimiser of the balanced unconstrained features model under cross entropy.

    For ``1/N sum CE(W h_i + b) + lW/2 ||W||^2 + lH/2 ||H||^2 + lb/2 ||b||^2`` with n samples in each of K classes,
    ``N = K n`` and ``L = sqrt(n lW lH)``::

        margin       m = log(1/L - K + 1)
        classifier   a simplex ETF with ||w_k||^2 = m (K-1)/K sqrt(n lH/lW)
        features     h_ki = sqrt(lW/(n lH)) w_k
        bias         0
        loss         log(1 + (K-1) e^(-m)) + (K-1) L m

    and everything is zero, with loss ``log K``, if and only if ``K L >= 1``.

    Assumes balanced classes, ``lW, lH > 0``, ``lb >= 0`` and ``d >= K - 1`` (with ``lb = 0`` the bias is any multiple
    of 1, and zero has the least norm). For ``d > K`` every other stationary point is a strict saddle:
    its Hessian has a negative eigenvalue, and descent from a random start ends at this loss.

    Parameters
    ----------
    classes, samples : int
        K, and n in each of them.
    weight_decay, feature_decay : float
        ``lW`` and ``lH``.
    dimension : int, optional
        Width d of the features, to be checked against the theorem.

    Raises
    ------
    OutOfRange
        If a parameter is outside the theorem.

    References
    ----------
    Zhu et al. 2021, A geometric analysis of neural collapse with unconstrained features, Theorems 3.1 and 3.2.

    Examples
    --------
    >>> round(cross_entropy_minimiser(4, 25, weight_decay=0.01, feature_decay=0.01).margin, 6)
    2.833213
    """
    theorem = "the minimiser of the cross entropy (Zhu 2021)"
    positive(theorem, classes=classes - 1, samples=samples, weight_decay=weight_decay, feature_decay=feature_decay)
    require(dimension is None or dimension >= classes - 1, theorem, f"d >= K - 1, not d = {dimension}")
    strength = float(np.sqrt(samples * weight_decay * feature_decay))
    zero = classes * strength >= 1
    margin = 0.0 if zero else float(np.log(1 / strength - classes + 1))
    weight_norm = np.sqrt(margin * (classes - 1) / classes * np.sqrt(samples * feature_decay / weight_decay))
    ratio = np.sqrt(weight_decay / (samples * feature_decay))
    gram = simplex_etf_gram(classes, weight_norm)
    return CrossEntropyMinimiser(
        loss=float(np.log1p((classes - 1) * np.exp(-margin)) + (classes - 1) * strength * margin),
        logits=ratio * gram,
        weight_gram=gram,
        mean_gram=ratio**2 * gram,
        bias=np.zeros(classes),
        margin=margin,
        zero=zero,
    )


@checked()
def normalised_minimiser(classes: int, temperature: float, *, dimension: int | None = None) -> CrossEntropyMinimiser:
    """Global minimiser of the balanced cross entropy with features and classifier on the unit sphere.

    For ``1/N sum CE(tau W h_i)`` with ``||w_k|| = ||h_i|| = 1`` and equal classes: a simplex ETF with
    ``h_i = w_{y_i}``, ``m = tau K/(K-1)`` and loss ``log(1 + (K-1) e^(-m))``. The margin counts the temperature, the
    logits do not.

    Assumes balanced classes, ``tau > 0`` and ``d >= K - 1``. For ``d > K``, and temperatures below a bound that grows
    with d, the paper proves that every other stationary point is a strict saddle of the Riemannian Hessian, so that
    Riemannian descent from a random start ends at this loss.

    Raises
    ------
    OutOfRange
        If a parameter is outside the theorem.

    References
    ----------
    Yaras et al. 2022, Neural collapse with normalized features: a geometric analysis over the Riemannian manifold.

    Examples
    --------
    >>> round(normalised_minimiser(3, temperature=2.0).loss, 6)
    0.094923
    """
    theorem = "the minimiser on the sphere (Yaras 2022)"
    positive(theorem, classes=classes - 1, temperature=temperature)
    require(dimension is None or dimension >= classes - 1, theorem, f"d >= K - 1, not d = {dimension}")
    margin = temperature * classes / (classes - 1)
    gram = simplex_etf_gram(classes)
    return CrossEntropyMinimiser(
        loss=float(np.log1p((classes - 1) * np.exp(-margin))),
        logits=gram,
        weight_gram=gram,
        mean_gram=gram,
        bias=np.zeros(classes),
        margin=margin,
        zero=False,
    )
