"""Every regression metric by brute force, from its definition alone: the part of the oracle for targets of numbers.

Features are ``(n, d)`` and targets ``(n, q)``, in float64, rounded beforehand to whatever precision a network would
have given them. Spectra come from singular values of the samples, never from a covariance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from helpers.oracle import EPS, Array, _exact, _mean, _ratio, _unit, log_evidence


class Centred(NamedTuple):
    """Features and targets less their means."""

    features: Array
    targets: Array


def centred(features: Array, targets: Array) -> Centred:
    """Residuals from the means, targets of shape ``(n, q)``."""
    return Centred(*((_exact(rows) - _exact(rows).mean(axis=0)).astype(np.float64) for rows in (features, targets)))


def principal_directions(features: Array) -> tuple[Array, Array]:
    """Variances, descending, and right-singular vectors of the centred features, by a full decomposition."""
    rows = centred(features, np.zeros((len(features), 1))).features
    _, values, directions = np.linalg.svd(rows / np.sqrt(len(rows)), full_matrices=True)
    return np.pad(values, (0, features.shape[1] - len(values))) ** 2, directions


def nrc1(features: Array, targets: Array) -> float:
    """Share of the feature variance outside the top q principal directions."""
    values, _ = principal_directions(features)
    return _ratio(values[targets.shape[1] :].sum(), values.sum())


def nrc1_normalized(features: Array, targets: Array) -> float:
    """Mean ``||h~ - P h~||^2``, sample by sample; P the top q principal directions that have variance."""
    values, directions = principal_directions(features)
    varying = int((values > values[0] * 1e-13).sum())
    return _outside(features, directions[: min(targets.shape[1], varying)])


def nrc2(features: Array, next_weight: Array) -> float:
    """Mean ``||h~ - P_W h~||^2``, sample by sample; P_W the row space of the next map, shape ``(out, d)``."""
    rank = np.linalg.matrix_rank(next_weight)
    return _outside(features, np.linalg.svd(next_weight, full_matrices=False)[2][:rank])


def nrc2_cka(features: Array, targets: Array) -> float:
    """``tr(K L) / sqrt(tr(K K) tr(L L))`` of the centred Gram matrices ``(n, n)`` of features and targets."""
    rows = centred(features, targets)
    kernel, other = rows.features @ rows.features.T, rows.targets @ rows.targets.T
    return _ratio((kernel * other).sum(), np.sqrt((kernel**2).sum() * (other**2).sum()))


def nrc3(targets: Array, head: Array) -> float:
    """Least ``||WW^T/||.|| - (T^(1/2) - sqrt(g) I)/||.|| ||^2`` over g in (0, lambda_min), by a search over sqrt(g)."""
    rows = centred(targets, targets).targets
    _, values, axes = np.linalg.svd(rows / np.sqrt(len(rows)), full_matrices=True)
    values = np.pad(values, (0, targets.shape[1] - len(values)))
    root = axes.T @ np.diag(values) @ axes
    gram = _unit(head @ head.T)

    def distance(s: float) -> float:
        return float(((gram - _unit(root - s * np.eye(len(root)))) ** 2).sum())

    # The function of s falls and rises once at most: a fine grid, then a finer one about its best place.
    low, high = 0.0, float(values.min()) * (1 - 1e-9)
    for _ in range(6):
        grid = np.linspace(low, high, 1001)
        best = int(np.argmin([distance(s) for s in grid]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 1000)]
    return distance(float(grid[best]))


def nrc3_alignment(features: Array, targets: Array, next_weight: Array) -> float:
    """Mean principal cosine of the top q feature directions and the top q right-singular vectors of the next map."""
    values, directions = principal_directions(features)
    filled = int((values > values[0] * 1e-13).sum())
    count = min(targets.shape[1], filled, np.linalg.matrix_rank(next_weight))
    read = np.linalg.svd(next_weight, full_matrices=False)[2][:count]
    return _mean(list(np.minimum(np.linalg.svd(directions[:count] @ read.T, compute_uv=False), 1.0)))


def linear_mse(
    features: Array, targets: Array, train_features: Array | None = None, train_targets: Array | None = None
) -> float:
    """Mean squared error, over samples and dimensions, of the affine map fitted by least squares (to train)."""
    return float((affine_errors(features, targets, train_features, train_targets) ** 2).mean())


def linear_r2(
    features: Array, targets: Array, train_features: Array | None = None, train_targets: Array | None = None
) -> float:
    """``1 - sum of squared errors / sum of squared deviations of the targets from their own mean``."""
    errors = affine_errors(features, targets, train_features, train_targets)
    return 1 - _ratio((errors**2).sum(), (centred(features, targets).targets ** 2).sum())


def linear_logme(features: Array, targets: Array, *, eps: float = EPS) -> float:
    """Maximum log evidence over N of each target dimension, averaged."""
    return _mean([log_evidence(features, target, eps=eps) for target in targets.T])


def affine_errors(
    features: Array, targets: Array, train_features: Array | None = None, train_targets: Array | None = None
) -> Array:
    """What the affine map of least squares, every feature in units of its spread, leaves of the targets."""
    train_features = features if train_features is None else train_features
    train_targets = targets if train_targets is None else train_targets
    centre, goal = _exact(train_features).mean(axis=0), _exact(train_targets).mean(axis=0)
    spread = (_exact(train_features) - centre).std(axis=0).astype(np.float64)
    scale = np.where(spread > 0, spread, 1.0)
    design = ((_exact(train_features) - centre) / scale).astype(np.float64)
    wanted = (_exact(train_targets) - goal).astype(np.float64)
    solution = np.linalg.lstsq(design, wanted, rcond=1e-7)[0]
    given = ((_exact(features) - centre) / scale).astype(np.float64)
    return np.asarray((_exact(targets) - goal).astype(np.float64) - given @ solution)


def directions_of_variance(rows: Array, share: float = 0.99) -> float:
    """How many principal directions hold a share of the variance; 0 where nothing varies."""
    values, _ = principal_directions(rows)
    shares = np.cumsum(values) / values.sum() if values.sum() > 0 else np.zeros(0)
    return float(next((count for count, held in enumerate(shares, 1) if held >= share), 0))


def _outside(features: Array, basis: Array) -> float:
    """Mean squared distance of the normalised rows from the span of orthonormal rows; a row of zeros counts as zero."""
    total = np.longdouble(0)
    for row in features.astype(np.float64):
        norm = np.linalg.norm(row)
        unit = row / norm if norm > 0 else row
        total += ((unit - basis.T @ (basis @ unit)) ** 2).sum()
    return float(total / len(features))
