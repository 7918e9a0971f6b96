"""Cross entropy on unequal classes: ReLU features, and minority classes that merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerwise.arguments import checked
from layerwise.theory.frames import orthogonal_frame_gram
from layerwise.theory.minimiser import Minimiser
from layerwise.theory.ranges import class_counts, positive, require

__all__ = [
    "MinorityCollapse",
    "NonnegativeMinimiser",
    "minority_collapse",
    "nonnegative_minimiser",
    "zero_threshold",
]


@dataclass(frozen=True, eq=False)
class NonnegativeMinimiser(Minimiser):
    """General orthogonal frame of features behind a ReLU.

    Attributes
    ----------
    margins : ndarray
        Shape ``(K,)``: difference of the logit of a class and any other logit, on samples of that class.
    alive : ndarray
        Shape ``(K,)``: whether the class survives; other classes have features of zero.
    """

    margins: np.ndarray
    alive: np.ndarray


@checked()
def nonnegative_minimiser(
    counts: Sequence[int] | np.ndarray, weight_decay: float, feature_decay: float, *, dimension: int | None = None
) -> NonnegativeMinimiser:
    """Global minimiser of the cross entropy with nonnegative features, classes of any sizes and no bias.

    For ``1/N sum CE(W h_i) + lW/2 ||W||^2 + lH/2 ||H||^2`` over W and ``H >= 0``, with ``n_k`` samples of class k::

        margins     M_k = log[(K-1) (sqrt(K n_k / ((K-1) N^2 lW lH)) - 1)],  or 0
        features    orthogonal, ||h_k||^2 = sqrt((K-1) lW/(K n_k lH)) M_k
        classifier  W = sqrt(K lH/((K-1) lW)) (sqrt(n_k) h_k - mean_m sqrt(n_m) h_m)
        loss        sum_k [n_k/N log(1 + (K-1) e^(-M_k)) + sqrt(n_k lW lH (K-1)/K) M_k]

    The features of class k are zero if and only if ``n_k <= N^2 lW lH K/(K-1)``. Its row of the classifier is not zero:
    it points away from the others. With equal classes the classifier is a simplex ETF and the features are not.

    Assumes ``lW, lH > 0`` and ``d >= K``. Descent can end at a point where a class that should survive has features of
    zero, especially if d is little above K: several starts are needed to find the minimiser.

    Parameters
    ----------
    counts : sequence of int
        Samples of each class.
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
    Dang et al. 2024, Neural collapse for cross-entropy class-imbalanced learning with unconstrained ReLU feature model.

    Examples
    --------
    >>> nonnegative_minimiser([16, 4, 1], 0.05, 0.05).alive
    array([ True,  True, False])
    """
    theorem = "the minimiser with ReLU features (Dang 2024)"
    sizes = class_counts(theorem, counts)
    positive(theorem, weight_decay=weight_decay, feature_decay=feature_decay)
    classes, total = len(sizes), int(sizes.sum())
    require(dimension is None or dimension >= classes, theorem, f"d >= K, not d = {dimension}")
    share = classes / (classes - 1)
    odds = (classes - 1) * (np.sqrt(share * sizes / (weight_decay * feature_decay)) / total - 1)
    margins = np.log(odds.clip(min=1.0))
    squares = np.sqrt(weight_decay / (share * sizes * feature_decay)) * margins
    scaled = np.sqrt(sizes * squares)
    centring = np.eye(classes) - 1 / classes
    ratio = share * feature_decay / weight_decay
    costs = np.sqrt(sizes * weight_decay * feature_decay / share) * margins
    return NonnegativeMinimiser(
        loss=float((sizes / total * np.log1p((classes - 1) * np.exp(-margins)) + costs).sum()),
        logits=np.sqrt(ratio * sizes)[:, None] * squares[:, None] * centring,
        weight_gram=ratio * centring @ np.diag(scaled**2) @ centring,
        mean_gram=orthogonal_frame_gram(np.sqrt(squares)),
        bias=np.zeros(classes),
        margins=margins,
        alive=margins > 0,
    )


@dataclass(frozen=True, eq=False)
class MinorityCollapse:
    """The effect of strong regularisation on classes of the same size.

    Attributes
    ----------
    merged : ndarray
        Shape ``(K,)``: whether the class has the same mean and the same classifier as the others of its size.
    gap : ndarray
        Shape ``(K,)``: probability of the sample's class less that of another class of the same size; NaN if no other
        class has the same size.
    zero : bool
        Whether features and classifier are zero.
    """

    merged: np.ndarray
    gap: np.ndarray
    zero: bool


@checked()
def minority_collapse(
    counts: Sequence[int] | np.ndarray, weight_decay: float, feature_decay: float, *, dimension: int | None = None
) -> MinorityCollapse:
    """Find the classes that merge at the global minimum of the cross entropy with classes of unequal sizes.

    For ``1/N sum CE(W h_i) + lW/2 ||W||^2 + lH/2 ||H||^2``, on samples of a class k of size n, the probabilities of k
    and of any other class j of size n satisfy ::

        p_k - p_j = max(0, 1 - N sqrt(lW lH / n))

    so classes of size n merge if and only if ``sqrt(lW lH) >= sqrt(n)/N``, small classes first. The paper treats two
    sizes. The argument holds for any number of sizes, and for a bias with or without a penalty: in the directions that
    separate classes of one size, the gradients of the loss and of the nuclear norm balance. Without a bias, everything
    is zero from `zero_threshold` on.

    Assumes ``lW, lH > 0`` and ``d >= K``.

    Raises
    ------
    OutOfRange
        If a parameter is outside the theorem.

    References
    ----------
    Hong & Ling 2023, Neural collapse for unconstrained feature model under cross-entropy loss with imbalanced data.

    Examples
    --------
    >>> minority_collapse([16, 16, 1, 1], 0.04, 0.04).merged
    array([False, False,  True,  True])
    """
    theorem = "minority collapse (Hong & Ling 2023)"
    sizes = class_counts(theorem, counts)
    positive(theorem, weight_decay=weight_decay, feature_decay=feature_decay)
    require(dimension is None or dimension >= len(sizes), theorem, f"d >= K, not d = {dimension}")
    strength = float(np.sqrt(weight_decay * feature_decay))
    paired = (sizes[:, None] == sizes).sum(1) > 1
    gap = (1 - sizes.sum() * strength / np.sqrt(sizes)).clip(min=0)
    return MinorityCollapse(
        merged=paired & (gap == 0),
        gap=np.where(paired, gap, np.nan),
        zero=strength >= zero_threshold(sizes),
    )


@checked()
def zero_threshold(counts: Sequence[int] | np.ndarray) -> float:
    """Return the least ``sqrt(lW lH)`` at which features and classifier of the cross entropy without a bias are zero.

    It is ``sqrt(largest eigenvalue of C D C)/N`` with ``D = diag(n_k)`` and ``C = I - 11^T/K``: from there on, the
    gradient at zero is no steeper than the regularisation. With two or more classes of the largest size it is
    ``sqrt(n_major)/N``, the value of Hong & Ling 2023; with a single one it is smaller.

    Examples
    --------
    >>> round(zero_threshold([9, 9, 1]) * 19, 6), round(zero_threshold([9, 1, 1]) * 11, 6)
    (3.0, 2.516611)
    """
    sizes = class_counts("the threshold of minority collapse (Hong & Ling 2023)", counts)
    centring = np.eye(len(sizes)) - 1 / len(sizes)
    return float(np.sqrt(np.linalg.eigvalsh(centring @ np.diag(sizes) @ centring)[-1]) / sizes.sum())
