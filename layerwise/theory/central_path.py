"""The squared-error loss of any linear readout, split by how collapse would lower it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layerwise.arguments import checked
from layerwise.theory.problems import class_means
from layerwise.theory.ranges import class_counts, require

__all__ = ["LossParts", "least_squares", "loss_parts"]


@dataclass(frozen=True, eq=False)
class LossParts:
    """Parts of the squared-error loss of a linear readout.

    Attributes
    ----------
    within : float
        NC1: loss due to deviations from the class means, under the least-squares classifier.
    between : float
        NC2 and NC3: loss due to deviations of class means from their targets, under the least-squares classifier.
    distance : float
        Loss due to the distance of the classifier from the least-squares one; 0 on the central path.
    ratios : ndarray
        Shape ``(K - 1,)``: ``q_j``, eigenvalues of ``S_W^+ S_B``, largest first; infinite without variance within.
    """

    within: float
    between: float
    distance: float
    ratios: np.ndarray

    @property
    def least(self) -> float:
        """Loss of the least-squares classifier."""
        return self.within + self.between

    @property
    def loss(self) -> float:
        """Loss of the given classifier."""
        return self.least + self.distance


@checked()
def least_squares(features: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight ``(K, d)`` and bias ``(K,)``, of least norm, that minimise ``1/(2N) sum ||W h + b - y||^2``."""
    centre, level = features.mean(0), targets.mean(0)
    weight = np.linalg.lstsq(features - centre, targets - level, rcond=None)[0].T
    return weight, level - weight @ centre


@checked()
def loss_parts(
    features: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None, bias: np.ndarray | None = None
) -> LossParts:
    """Split ``1/(2N) sum ||W h_i + b - onehot(y_i)||^2`` into parts, at any layer of any network.

    With ``w_j`` the K - 1 singular values of ``S_W^(-1/2) [m_k]`` and ``q_j = w_j^2/K``, x a feature with a one
    appended and ``dW`` the distance of ``[W, b]`` from the least-squares classifier::

        loss = 1/(2K) sum q/(1+q)^2  +  1/(2K) sum 1/(1+q)^2  +  1/2 tr[dW mean(x x^T) dW^T]
               within (NC1)             between (NC2, NC3)       distance from the central path

    If there are fewer than K - 1 singular values, the missing ``q_j`` are 0. The sum equals the loss up to rounding,
    close to collapse too, since ``1/(1+q)`` is computed as a squared sine and not as a difference.

    Assumes equally many samples in every class; nothing else.

    Parameters
    ----------
    features : ndarray
        Shape ``(N, d)``.
    labels : ndarray
        Shape ``(N,)``, integers from 0 to K - 1.
    weight, bias : ndarray, optional
        Shapes ``(K, d)`` and ``(K,)``; by default the least-squares classifier. A bias without a weight is ignored.

    Raises
    ------
    OutOfRange
        If classes are unequal.

    References
    ----------
    Han, Papyan & Donoho 2021, Neural collapse under MSE loss: proximity to and dynamics on the central path.

    Examples
    --------
    >>> parts = loss_parts(np.array([[2.0], [4.0], [-2.0], [-4.0]]), np.array([0, 0, 1, 1]))
    >>> parts.ratios, round(parts.least, 6)
    (array([9.]), 0.025)
    """
    theorem = "the split of the loss (Han 2021)"
    counts = class_counts(theorem, np.bincount(labels))
    require(bool((counts == counts[0]).all()), theorem, f"as many samples in every class, not {counts.tolist()}")
    classes, samples = len(counts), len(labels)
    order = np.argsort(labels, kind="stable")
    rows = features[order] - features.mean(0)
    means = class_means(rows, counts)
    deviations = (rows - np.repeat(means, counts, axis=0)) / np.sqrt(samples)

    # In orthonormal coordinates of the total scatter, within and between are sine and cosine of the same angles.
    stacked = np.concatenate([deviations, means / np.sqrt(classes)])
    left, values, _ = np.linalg.svd(stacked, full_matrices=False)
    left = left[:, values > values[0] * max(stacked.shape) * np.finfo(np.float64).eps]
    _, cosines, directions = np.linalg.svd(left[samples:], full_matrices=False)
    cosines, directions = cosines[: classes - 1], directions[: classes - 1]
    sines = np.linalg.norm(left[:samples] @ directions.T, axis=0)
    missing = classes - 1 - len(cosines)
    cosines, sines = np.pad(cosines, (0, missing)), np.pad(sines, (0, missing), constant_values=1.0)
    with np.errstate(divide="ignore"):
        ratios = (cosines / sines) ** 2

    distance = 0.0
    if weight is not None:
        best, level = least_squares(features, np.eye(classes)[labels])
        level = level if bias is None else level - bias
        shift = features @ (weight - best).T - level
        distance = float((shift**2).sum()) / (2 * samples)
    return LossParts(
        within=float((cosines**2 * sines**2).sum()) / (2 * classes),
        between=float((sines**4).sum()) / (2 * classes),
        distance=distance,
        ratios=ratios,
    )
