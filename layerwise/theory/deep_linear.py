"""Deep linear networks under squared error, on classes of any sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from layerwise.arguments import checked
from layerwise.theory.frames import orthogonal_frame_gram
from layerwise.theory.minimiser import Minimiser
from layerwise.theory.ranges import class_counts, positive, require

__all__ = ["DeepLinearMinimiser", "deep_linear_minimiser"]


@dataclass(frozen=True, eq=False)
class DeepLinearMinimiser(Minimiser):
    """General orthogonal frame of a deep linear network.

    Attributes
    ----------
    singular_values : ndarray
        Shape ``(M, K)``: the singular value of each linear map, from the features up, for each class.
    alive : ndarray
        Shape ``(K,)``: whether the class survives; other classes have a mean of zero.
    """

    singular_values: np.ndarray
    alive: np.ndarray


@checked()
def deep_linear_minimiser(
    counts: Sequence[int] | np.ndarray,
    weight_decays: Sequence[float],
    feature_decay: float,
    *,
    width: int | None = None,
) -> DeepLinearMinimiser:
    """Global minimiser of a deep linear network on free features, with classes of any sizes and no bias.

    For ``1/(2N) ||W_M ... W_1 H - Y||^2 + sum lW_l/2 ||W_l||^2 + lH/2 ||H||^2`` with ``n_k`` samples of class k and
    ``lW`` the geometric mean of the ``lW_l``::

        b = M N lW (N lH)^(1/M)
        x_k = the largest root of b/n_k = M x^(M-1)/(1 + x^M)^2,  and p_k = sqrt(N lH x_k^M)
        singular values  s_kl = sqrt(x_k (N lH)^(1/M) lW/lW_l), of the map l, with product p_k
        features         orthogonal, ||h_k|| = p_k/(p_k^2 + N lH)
        logits           z_kk = p_k^2/(p_k^2 + N lH), all others 0
        loss             1/(2N) sum_k [n_k/(1 + x_k^M) + b x_k]

    Class k survives if and only if ``b/n_k < (M-1)^((M-1)/M)/M`` (for one map: ``n_k > N^2 lW lH``); otherwise ``x_k``
    is 0. With two maps or more, this threshold is lower than the ``b/n_k`` above which there is no root. Between the
    two, the largest root is a local minimum and zero is the global one.

    Assumes ``lW_l, lH > 0``. If the narrowest map has fewer than K dimensions, only that many classes survive, the
    largest first. The minimiser is not unique if sizes tie at this cut, which is an error, or if ``b/n_k`` is at the
    threshold, where the smaller solution is returned.

    Parameters
    ----------
    counts : sequence of int
        Samples of each class.
    weight_decays : sequence of float
        ``lW_l`` of each of the M maps, from the features up.
    feature_decay : float
        ``lH``.
    width : int, optional
        The smallest width of features and maps; by default K or more.

    Raises
    ------
    OutOfRange
        If a parameter is outside the theorem.

    References
    ----------
    Dang et al. 2023, Neural collapse in deep linear networks: from balanced to imbalanced data.

    Examples
    --------
    >>> frame = deep_linear_minimiser([16, 4, 1], [0.05], 0.05)
    >>> frame.alive
    array([ True,  True, False])
    >>> frame.singular_values.round(4)
    array([[1.7176, 0.9747, 0.    ]])
    """
    theorem = "the minimiser of a deep linear network (Dang 2023)"
    sizes = class_counts(theorem, counts)
    decays = np.asarray(weight_decays, dtype=np.float64)
    require(decays.ndim == 1 and len(decays) >= 1, theorem, "at least one linear map")
    for decay in decays:
        positive(theorem, weight_decay=float(decay))
    positive(theorem, feature_decay=feature_decay)
    classes, depth, total = len(sizes), len(decays), int(sizes.sum())
    width = classes if width is None else min(width, classes)
    require(width >= 1, theorem, f"a width of at least one, not {width}")

    decay = float(np.exp(np.log(decays).mean()))
    unit = (total * feature_decay) ** (1 / depth)
    cost = depth * total * decay * unit
    roots = np.array([_largest_root(cost / size, depth) for size in sizes])
    order = np.argsort(-sizes, kind="stable")
    if width < classes and roots[order[width - 1]] > 0:
        distinct = bool(sizes[order[width - 1]] > sizes[order[width]])
        require(distinct, theorem, f"classes of different sizes where the width, {width}, makes one of them die")
    roots[order[width:]] = 0
    power = roots**depth
    logits = power / (1 + power)
    norms = np.sqrt(power / (total * feature_decay)) / (1 + power)
    singular_values = np.sqrt(roots * unit * (decay / decays)[:, None])
    return DeepLinearMinimiser(
        loss=float((sizes / (1 + power) + cost * roots).sum()) / (2 * total),
        logits=np.diag(logits),
        weight_gram=orthogonal_frame_gram(singular_values[-1]),
        mean_gram=orthogonal_frame_gram(norms),
        bias=np.zeros(classes),
        singular_values=singular_values,
        alive=roots > 0,
    )


def _largest_root(level: float, depth: int) -> float:
    """Return the largest x with ``depth x^(depth-1)/(1 + x^depth)^2 = level``; 0 if zero is no worse."""
    if depth == 1:
        return max(0.0, float(level**-0.5) - 1)
    if level >= (depth - 1) ** ((depth - 1) / depth) / depth:
        return 0.0

    def excess(log: float) -> float:
        return float(np.log(depth / level) + (depth - 1) * log - 2 * np.logaddexp(0, depth * log))

    # At x^M = M - 1 the curve is at the survival threshold and past its peak; beyond, it falls.
    low = np.log(depth - 1) / depth
    high = max(low, np.log(depth / level) / (depth + 1)) + 1
    return float(np.exp(brentq(excess, low, high, xtol=1e-15, rtol=4 * np.finfo(float).eps)))
