"""The evidence of a Bayesian linear model without intercept, from moments alone."""

from __future__ import annotations

import numpy as np

from layerwise.statistics.moments import Moments
from layerwise.statistics.rounding import noise_edge
from layerwise.statistics.targets import TargetMoments

__all__ = ["BLOCK", "largest_evidence", "linear_evidence", "target_evidence"]

# The largest evidence is searched on a grid of the logarithm of the precisions' ratio, then by golden section. The
# error of the evidence is the square of the last interval.
_STEP = 0.5
_REFINEMENTS = 30
#: Largest number of elements of a matrix.
BLOCK = 1 << 22
_GOLDEN = (np.sqrt(5) - 1) / 2

_EPS = float(np.finfo(np.float64).eps)


def linear_evidence(moments: Moments) -> np.ndarray:
    """Return the largest log evidence, over N, of the linear model of each class's indicator; shape ``(k,)``.

    The features are ``F = O L``, with ``O`` orthonormal and ``L = [sqrt(N) S_W^(1/2); diag(sqrt(n_c)) M]`` of the class
    means ``M`` (``d + k`` rows), and the indicator of class c is ``sqrt(n_c)`` times a column of ``O``. The singular
    value decomposition of ``L`` therefore replaces that of the features, without squares or differences. Directions
    below the rounding of the features are dropped.

    Parameters
    ----------
    moments : Moments
        With the within-class covariance.
    """
    counts, samples = moments.counts, float(moments.counts.sum())
    spread, axes = moments.within_axes
    spanning = moments.range.spanning.T
    within = np.sqrt(samples * spread)[:, None] * (axes.T @ spanning)
    # Class means are projected to the same directions; otherwise rounding would give each a direction of its own.
    mean = moments.shares @ moments.means
    means = mean + ((moments.means - mean) @ moments.range.axes) @ spanning
    rows = np.concatenate([within, np.sqrt(counts)[:, None] * means])
    left, variances = _directions(rows, moments.squares, moments.noise, samples)
    step = max(BLOCK // len(rows), 1)
    evidence = []
    for start in range(0, len(counts), step):
        first = len(spread) + start
        of_classes = left[first : first + step]
        # The part of an indicator that no feature reaches, as a residual and not as a difference of norms.
        residual = -left @ of_classes.T
        residual[first : first + len(of_classes)] += np.eye(len(of_classes))
        unreached = (residual**2).sum(0)
        unreached[unreached <= (len(rows) * _EPS) ** 2] = 0.0
        few = counts[start : start + step]
        evidence.append(largest_evidence(variances, of_classes**2 * few[:, None], unreached * few, samples))
    return np.concatenate(evidence)


def target_evidence(moments: TargetMoments) -> np.ndarray:
    """Return the largest log evidence, over N, of the linear model of each target dimension; shape ``(q,)``.

    The features are ``F = O L``, with ``O`` orthonormal and ``L = sqrt(N) [A^T S; mean]`` for axes ``A`` that whiten
    them. The targets have the coordinates ``sqrt(N) [A^T cov(h, t); mean t]`` in ``O``. Their part outside of ``O`` is
    the residual of the best affine map.

    Parameters
    ----------
    moments : TargetMoments
    """
    samples = float(moments.count)
    axes = moments.range.whitening.T
    rows = np.sqrt(samples) * np.concatenate([axes @ moments.covariance, moments.mean[None]])
    explained = axes @ moments.cross
    targets = np.sqrt(samples) * np.concatenate([explained, moments.target_mean[None]])
    left, variances = _directions(rows, moments.squares, moments.noise, samples)
    along = left.T @ targets
    variance = np.diag(moments.target_covariance)
    unexplained = variance - (explained**2).sum(0)
    unexplained[unexplained <= variance * len(rows) * _EPS] = 0.0
    unreached = samples * unexplained + ((targets - left @ along) ** 2).sum(0)
    unreached[unreached <= (targets**2).sum(0) * (len(rows) * _EPS) ** 2] = 0.0
    return largest_evidence(variances, along.T**2, unreached, samples)


def _directions(rows: np.ndarray, squares: np.ndarray, noise: float, samples: float) -> tuple[np.ndarray, np.ndarray]:
    """Return left-singular vectors, as columns, and squared singular values of directions above rounding."""
    left, values, axes = np.linalg.svd(rows, full_matrices=False)
    floor = samples * noise * noise_edge(rows.shape[1], samples) * (axes**2 @ squares)
    kept = values**2 > np.maximum(floor, (values[0] * len(rows) * _EPS) ** 2)
    return left[:, kept], values[kept] ** 2


def largest_evidence(variances: np.ndarray, reached: np.ndarray, unreached: np.ndarray, samples: float) -> np.ndarray:
    """Return the largest log evidence, over N, of ``y = F w + noise`` over the precisions of ``w`` and of the noise.

    For a ratio t of the precisions, the best noise precision is ``N / Q(t)``, with
    ``Q(t) = min_w ||F w - y||^2 + t ||w||^2``. The log evidence is then a function of t alone,
    ``-1/2 sum_j log(1 + s_j/t) - N/2 log Q(t) + N/2 (log N - 1 - log 2 pi)``, and is maximised over t. It is infinite
    if the features reach y in every digit and there are more samples than directions.

    Parameters
    ----------
    variances : ndarray
        ``s_j``, the squared singular values of F that are not zero, shape ``(r,)``.
    reached : ndarray
        Squared coordinates of each y along the left-singular vectors, shape ``(k, r)``.
    unreached : ndarray
        The rest of ``||y||^2``, shape ``(k,)``.
    samples : float
        N.
    """
    # At an infinite ratio all weights are zero, and the residual is y itself.
    largest = -np.log(reached.sum(1) + unreached) / 2
    if len(variances):
        grid = np.arange(_lowest(variances, reached, unreached, samples), np.log(variances[0] * samples) + 12, _STEP)
        loss = reached @ _shares(grid[:, None], variances).T + unreached[:, None]
        best = grid[(-_widths(grid[:, None], variances) / samples - np.log(loss)).argmax(1)]
        largest = np.maximum(largest, _refined(best, variances, reached, unreached, samples))
    largest[(unreached == 0) & (samples > len(variances))] = np.inf
    return np.asarray(largest + (np.log(samples) - 1 - np.log(2 * np.pi)) / 2)


def _shares(log_ratio: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return ``t / (t + s_j)``, the residual share of each coordinate; ratios ``(n, 1)`` to ``(n, r)``."""
    ratio = np.exp(log_ratio)
    return np.asarray(ratio / (ratio + variances))


def _widths(log_ratio: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return ``sum_j log(1 + s_j/t)``, the penalty of the weights; ratios ``(n, 1)`` to ``(n,)``."""
    return np.asarray(np.log1p(variances / np.exp(log_ratio)).sum(1))


def _lowest(variances: np.ndarray, reached: np.ndarray, unreached: np.ndarray, samples: float) -> float:
    """Return the logarithm of a ratio below which no evidence is larger by more than rounding."""
    bound = float(np.log(variances[-1]))
    if (unreached == 0).any():
        return bound - 30
    # For t below all s_j the evidence goes with r log(t) - N log(unreached + t slope), which rises at least up to here.
    slope = (reached / variances).sum(1)
    rises = np.log(unreached) - np.log(np.maximum(slope, np.finfo(float).tiny)) + np.log(len(variances) / samples)
    return min(bound, float(rises.min())) - 3


def _refined(
    best: np.ndarray, variances: np.ndarray, reached: np.ndarray, unreached: np.ndarray, samples: float
) -> np.ndarray:
    """Return the largest evidence within a step of the best ratio of each y, by golden section."""

    def evidence(log_ratio: np.ndarray) -> np.ndarray:
        loss = np.einsum("kr,kr->k", reached, _shares(log_ratio[:, None], variances)) + unreached
        return np.asarray(-_widths(log_ratio[:, None], variances) / (2 * samples) - np.log(loss) / 2)

    left, right = best - _STEP, best + _STEP
    for _ in range(_REFINEMENTS):
        first, second = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        ahead = evidence(first) >= evidence(second)
        left, right = np.where(ahead, left, first), np.where(ahead, second, right)
    return evidence((left + right) / 2)
