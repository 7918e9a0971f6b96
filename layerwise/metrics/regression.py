"""Regression: how far the features have collapsed onto as many directions as the target has, and onto which.

``t`` is a target of ``q`` dimensions, ``S`` the covariance of the features, ``T`` that of the targets. Layers that are
too wide for a covariance are measured on a random projection (``covariance_features``), and the error of the projection
is measured too. Only `nrc2` and `nrc3_alignment` are NaN there: the next linear map reads the features themselves.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from layerwise.metrics.registry import metric
from layerwise.metrics.sizes import Sizes, of_eigh, of_svd
from layerwise.statistics.bayesian_evidence import target_evidence
from layerwise.statistics.targets import Readout, TargetMoments

__all__ = [
    "linear_logme",
    "linear_mse",
    "linear_r2",
    "nrc1",
    "nrc1_normalized",
    "nrc2",
    "nrc2_cka",
    "nrc3",
    "nrc3_alignment",
    "target_dimensions",
    "target_rank",
]

_RANGAMANI = "Rangamani & Unal 2026"
_DEEP = f"{_RANGAMANI} (Deep NRC)"
_ANDRIOPOULOS = "Andriopoulos 2024"
_EPS = float(np.finfo(np.float64).eps)


def _workspace(sizes: Sizes) -> int:
    return of_eigh(sizes.covariance) + 3 * sizes.covariance**2


def _workspace_of_evidence(sizes: Sizes) -> int:
    return _workspace(sizes) + of_svd(sizes.covariance + 1, sizes.covariance)


# A regression metric compares no classes.
_metric = partial(metric, least_classes=0, workspace=_workspace)


def _largest(values: np.ndarray, share: float = 0.99) -> int:
    """Count the descending values that hold a share of their sum; 0 where all of them are zero."""
    total = values.sum()
    return int(np.searchsorted(np.cumsum(values), share * total)) + 1 if total > 0 else 0


def _filled(regression: TargetMoments) -> int:
    """Count the top ``q`` directions, or those with any variance if they are fewer; the others have no order."""
    values, _ = regression.principal
    return min(len(regression.target_mean), int((values > values[0] * len(values) * _EPS).sum()))


def _row_space(weight: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the right-singular vectors ``(d, d)`` of a map ``(out, d)`` by descending singular value, and its rank."""
    square = weight if len(weight) <= weight.shape[1] else np.linalg.qr(weight, mode="r")
    _, values, read = np.linalg.svd(square, full_matrices=True)
    return read, int((values > values[0] * max(weight.shape) * _EPS).sum())


@_metric("feature variance beyond the target's dimensions", direction="down", reference=_DEEP)
def nrc1(regression: TargetMoments) -> float:
    """Share of the feature variance outside the top ``q`` principal directions, ``1 - sum_{k<=q} l_k / sum_k l_k``.

    ``l_k`` are the eigenvalues of ``S``. Rotation and scale leave the value unchanged.

    Returns
    -------
    float
        In ``[0, 1]``; 0 at collapse, where the features fill no more directions than the target has, and trivially for
        ``q >= d``.

    References
    ----------
    Rangamani & Unal 2026, arXiv:2603.23805.
    """
    values, _ = regression.principal
    return float(values[len(regression.target_mean) :].sum() / values.sum())


@_metric("normalised features beyond the target's dimensions", direction="down", reference=f"{_ANDRIOPOULOS} (NRC1)")
def nrc1_normalized(regression: TargetMoments) -> float:
    """Squared distance of the normalised features from the top principal directions, ``mean ||h~_i - P h~_i||^2``.

    ``h~ = h/||h||`` is not centred, and ``P`` projects on the top ``q`` eigenvectors of ``S``, or on those with any
    variance if they are fewer. Unlike `nrc1` it depends on the mean of the features.

    Returns
    -------
    float
        In ``[0, 1]``; 0 at collapse.

    References
    ----------
    Andriopoulos 2024, arXiv:2409.04180.
    """
    outside = regression.principal[1][_filled(regression) :]
    return float((outside @ regression.directions * outside).sum())


@_metric("normalised features outside the next linear map", direction="down", reference=f"{_ANDRIOPOULOS} (NRC2)")
def nrc2(regression: TargetMoments, next_map: np.ndarray) -> float:
    """Squared distance of the normalised features from what the next linear map reads, ``mean ||h~_i - P_W h~_i||^2``.

    ``P_W`` projects on the row space of the linear map that the layer feeds, which may be the network's own regression
    head.

    Returns
    -------
    float
        In ``[0, 1]``; 0 at collapse, and trivially where the map has full column rank, as most hidden layers of equal
        width do. NaN where the layer feeds no linear map.

    References
    ----------
    Andriopoulos 2024, arXiv:2409.04180.
    """
    if next_map.shape[1] != len(regression.mean):
        return np.nan
    read, rank = _row_space(next_map)
    return float((read[rank:] @ regression.directions * read[rank:]).sum())


@_metric("similarity of features and targets (CKA)", direction="up", reference=_DEEP, needs_pairing=True)
def nrc2_cka(regression: TargetMoments) -> float:
    """Linear centred kernel alignment of features and targets, ``||cov(h, t)||_F^2 / (||S||_F ||T||_F)``.

    Standardising the targets changes the value.

    Returns
    -------
    float
        In ``[0, 1]``; 1 at collapse, where the features are the targets up to rotation and scale.

    References
    ----------
    Rangamani & Unal 2026, arXiv:2603.23805.
    """
    norms = np.linalg.norm(regression.covariance) * np.linalg.norm(regression.target_covariance)
    return float(np.linalg.norm(regression.cross) ** 2 / norms)


@_metric("distance of the head from the target covariance", direction="down", reference=f"{_ANDRIOPOULOS} (NRC3)")
def nrc3(regression: TargetMoments, head: np.ndarray) -> float:
    """Distance of the head's Gram matrix from the square root of the target covariance, less a multiple of ``I``.

    The least, over ``g`` in ``(0, lambda_min(T))``, of ``|| W W^T/||.||_F - (T^(1/2) - sqrt(g) I)/||.||_F ||_F^2``,
    found in closed form; at the ends of the interval the limit counts. ``W``, shape ``(q, d)``, is the network's own
    regression head, in the units of the targets.

    Returns
    -------
    float
        In ``[0, 4]``; 0 at collapse, and trivially for ``q = 1``. NaN where the layer does not feed the head.

    References
    ----------
    Andriopoulos 2024, arXiv:2409.04180.
    """
    weight = head / regression.unit[:, None]
    gram = weight @ weight.T
    gram = gram / np.linalg.norm(gram)
    values, axes = np.linalg.eigh(regression.target_covariance)
    roots = np.sqrt(values.clip(min=0.0))
    rotated = axes.T @ gram @ axes
    # The derivative of <gram, T^(1/2) - s I>/||T^(1/2) - s I|| is zero at one s at most.
    along, trace = float(np.diag(rotated) @ roots), float(np.trace(rotated))
    above, below = trace * roots @ roots - along * roots.sum(), trace * roots.sum() - along * len(roots)
    inner = above / below if below != 0 else 0.0
    ideals = [np.diag(roots - s) for s in (0.0, float(np.clip(inner, 0.0, roots[0])), roots[0])]
    # At the upper end nothing but rounding is left of a covariance that is a multiple of the identity.
    sizes = [np.linalg.norm(ideal) for ideal in ideals]
    floor = 1e3 * _EPS * sizes[0]
    squares = [((rotated - ideal / size) ** 2).sum() for ideal, size in zip(ideals, sizes, strict=True) if size > floor]
    return float(min(squares, default=np.nan))


@_metric("alignment of features with the next linear map", direction="up", reference=_DEEP)
def nrc3_alignment(regression: TargetMoments, next_map: np.ndarray) -> float:
    """Mean cosine of the principal angles between the main feature directions and those that the next map reads best.

    The angles are those between the top ``q`` principal directions of the features and the top ``q`` right-singular
    vectors of the linear map that the layer feeds, the network's own head or a hidden map; fewer where either has less
    rank.

    Returns
    -------
    float
        In ``[0, 1]``; 1 at collapse. NaN where the layer feeds no linear map.

    References
    ----------
    Rangamani & Unal 2026, arXiv:2603.23805.
    """
    if next_map.shape[1] != len(regression.mean):
        return np.nan
    read, rank = _row_space(next_map)
    kept = min(_filled(regression), rank)
    cosines = np.linalg.svd(regression.principal[1][:kept] @ read[:kept].T, compute_uv=False)
    return float(cosines.clip(max=1.0).mean()) if kept else np.nan


@_metric(
    "error of the best affine fit",
    direction="down",
    units="target^2",
    reference=f"{_RANGAMANI} (Deep NRC, NRC4)",
    needs_pairing=True,
    fitted="always",
)
def linear_mse(regression: TargetMoments, readout: Readout) -> float:
    """Mean squared error, over samples and target dimensions, of the best affine map from features to targets.

    The map is fitted on the training split in closed form, without regularisation (`layerwise.statistics.fit_readout`).

    Returns
    -------
    float
        In ``[0, inf)``; falls with collapse. Below some 1e-13 of the variance of the targets it is rounding.

    References
    ----------
    Rangamani & Unal 2026, arXiv:2603.23805.
    """
    return float(readout.errors(regression).mean())


@_metric(
    "variance explained by the best affine fit",
    direction="up",
    reference=f"{_RANGAMANI} (Deep NRC, NRC4)",
    needs_pairing=True,
    fitted="always",
)
def linear_r2(regression: TargetMoments, readout: Readout) -> float:
    """Share of the targets' variance that the map of `linear_mse` explains, ``1 - sum_k mse_k / tr T``.

    Target dimensions of greater variance count for more, unless targets are standardised.

    Returns
    -------
    float
        In ``(-inf, 1]``, on the training split in ``[0, 1]``; rises with collapse.

    References
    ----------
    Rangamani & Unal 2026, arXiv:2603.23805.
    """
    return float(1 - readout.errors(regression).sum() / np.trace(regression.target_covariance))


@_metric(
    "log evidence of a linear model of the targets",
    direction="up",
    units="nat",
    reference="You 2021",
    needs_pairing=True,
    workspace=_workspace_of_evidence,
)
def linear_logme(regression: TargetMoments) -> float:
    """Largest log evidence of a Bayesian linear model of each target dimension, over N, averaged over dimensions.

    ``max over a, b of log p(t | F, a, b) / N`` with ``t = F w + noise``, ``w ~ N(0, I/a)``, ``noise ~ N(0, I/b)`` and
    no intercept, as `logme` has it for classes. Rotation and scale of the features leave the value unchanged; a unit of
    the targets c times as large adds ``log c``.

    Returns
    -------
    float
        In ``(-inf, inf]``; rises with collapse. Infinite where the features determine the targets in every digit.

    References
    ----------
    You 2021, arXiv:2102.11005.
    """
    return float(target_evidence(regression).mean())


@_metric("feature directions that hold 99% of the variance", direction="down", reference=_DEEP, integer_valued=True)
def target_rank(regression: TargetMoments) -> float:
    """Number of principal directions that hold 99% of the feature variance.

    Returns
    -------
    float
        In ``[0, d]``; at collapse it is that of the target, `target_dimensions`.

    References
    ----------
    Rangamani & Unal 2026, arXiv:2603.23805.
    """
    return float(_largest(regression.principal[0]))


@_metric(
    "target directions that hold 99% of the variance",
    direction="none",
    dims=("epoch", "split", "target"),
    reference=_DEEP,
    integer_valued=True,
)
def target_dimensions(regression: TargetMoments) -> float:
    """Number of principal directions that hold 99% of the targets' variance.

    Returns
    -------
    float
        In ``[0, q]``; neither direction is collapse.

    References
    ----------
    Rangamani & Unal 2026, arXiv:2603.23805.
    """
    return float(_largest(regression.target_spectrum))
