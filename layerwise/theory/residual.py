"""The last layer of deep regularised residual networks and transformers: normalised features, penalised classifier."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from layerwise.arguments import checked
from layerwise.theory.cross_entropy import CrossEntropyMinimiser
from layerwise.theory.frames import simplex_etf_gram
from layerwise.theory.ranges import positive, require

__all__ = ["residual_minimiser"]


@checked()
def residual_minimiser(classes: int, weight_decay: float, *, dimension: int | None = None) -> CrossEntropyMinimiser:
    """Global minimiser of the balanced cross entropy with features of length one and a penalised classifier.

    For ``1/N sum CE(W h_i) + l/2 ||W||^2`` with ``||h_i|| = 1`` and equal classes: a simplex ETF with ``h_i`` along
    ``w_{y_i}``, whose margin m is the only root of ``1/(e^m + K - 1) = l m (K-1)/K``, ::

        classifier  ||w_k|| = m (K-1)/K
        loss        log(1 + (K-1) e^(-m)) + l/2 K ||w_k||^2

    It never collapses to zero. It is the problem of the last layer of a residual network or transformer with a final
    normalisation, if the layers below can make any features at no cost; in the paper their cost vanishes as depth
    grows.

    Assumes balanced classes, ``l > 0`` and ``d >= K - 1``.

    Parameters
    ----------
    classes : int
        K.
    weight_decay : float
        ``l``.
    dimension : int, optional
        Width d of the features, to be checked against the theorem.

    Raises
    ------
    OutOfRange
        If a parameter is outside the theorem.

    References
    ----------
    Sukenik et al. 2025, Neural collapse is globally optimal in deep regularized ResNets and transformers.

    Examples
    --------
    >>> round(residual_minimiser(3, weight_decay=0.1).margin, 6)
    1.82653
    """
    theorem = "the last layer of regularised residual networks (Sukenik 2025)"
    positive(theorem, classes=classes - 1, weight_decay=weight_decay)
    require(dimension is None or dimension >= classes - 1, theorem, f"d >= K - 1, not d = {dimension}")
    share = (classes - 1) / classes

    def excess(margin: float) -> float:
        return float(np.log(weight_decay * margin * share) + np.logaddexp(margin, np.log(classes - 1)))

    # The left side of the equation is at most 1/K, which bounds m.
    high = 1 / (weight_decay * (classes - 1))
    margin = float(brentq(excess, high * 1e-300, high * (1 + 1e-9), xtol=1e-300, rtol=4 * np.finfo(float).eps))
    norm = margin * share
    gram = simplex_etf_gram(classes)
    return CrossEntropyMinimiser(
        loss=float(np.log1p((classes - 1) * np.exp(-margin)) + weight_decay / 2 * classes * norm**2),
        logits=norm * gram,
        weight_gram=norm**2 * gram,
        mean_gram=gram,
        bias=np.zeros(classes),
        margin=margin,
        zero=False,
    )
