"""NC1: how far the samples of a class have collapsed onto their mean."""

from __future__ import annotations

import numpy as np

from layerwise.metrics.between import above_rounding
from layerwise.metrics.convention import CONVENTIONS, Convention
from layerwise.metrics.debias import debiased_between, debiased_fuzziness, debiased_residuals
from layerwise.metrics.pairs import pair_distances
from layerwise.metrics.registry import metric
from layerwise.metrics.sizes import Sizes, of_eigh, of_pairs, of_svd
from layerwise.statistics.centers import Span
from layerwise.statistics.moments import Moments
from layerwise.statistics.noise import noise_of_means, unbiased

__all__ = [
    "between_rank",
    "cdnv",
    "class_variance",
    "discriminant_ratios",
    "nc1",
    "nc1_trace",
    "separation",
    "vci",
    "workspace_of_ratios",
]


def _workspace_of_span(sizes: Sizes) -> int:
    directions = min(sizes.classes, sizes.features)
    return 2 * sizes.classes * (directions + sizes.features) + of_svd(sizes.classes, directions)


def workspace_of_ratios(sizes: Sizes) -> int:
    """Workspace of `discriminant_ratios`."""
    width = sizes.covariance
    return of_eigh(width) + 3 * width**2 + 2 * sizes.classes * width + of_svd(sizes.classes, width)


def _weights(moments: Moments, counted: str) -> np.ndarray:
    """Return the weight of each class, where every sample or every class counts once."""
    count = len(moments.classes)
    return moments.shares if counted == "samples" else np.full(count, 1 / count)


def _from_origin(moments: Moments, means: np.ndarray, convention: Convention) -> np.ndarray:
    """Return class means less the global mean of the convention, from class means less their own mean."""
    return means - moments.shares @ means if convention.global_mean == "samples" else means


def _between_directions(
    moments: Moments, span: Span, convention: Convention
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which directions of ``S_B`` its pseudo-inverse keeps, their variances, and the directions as rows."""
    count = len(moments.classes)
    means = _from_origin(moments, span.coordinates, convention)
    weights = _weights(moments, convention.between)
    left, values, directions = np.linalg.svd(np.sqrt(weights)[:, None] * means, full_matrices=False)
    kept = (values > 0) & (np.arange(len(values)) < count - 1)
    if convention.rank == "tolerance":
        # The same directions among all features, as combinations of the class means.
        rows = left.T @ (np.sqrt(weights)[:, None] * _from_origin(moments, moments.centered, convention))
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        axes = rows / np.where(lengths > 0, lengths, 1.0)
        within = np.einsum("kr,rs,ks->k", directions, span.within, directions)
        kept = above_rounding(values, axes, moments, weights, within)
    return kept, values[kept] ** 2, directions[kept]


def _fuzziness(moments: Moments, span: Span, convention: Convention) -> float:
    """Compute ``tr(S_W S_B^+)`` from the scatter in the span of the class means."""
    kept, variances, directions = _between_directions(moments, span, convention)
    if not kept.any():
        return np.nan
    within = span.within if convention.within == "samples" else span.within_by_class
    if convention.debiased:
        if span.noise is None:
            return np.nan
        return debiased_fuzziness(
            moments,
            _from_origin(moments, span.coordinates, convention),
            unbiased(moments, _weights(moments, convention.within)) * within,
            weights=_weights(moments, convention.between),
            origin=_weights(moments, convention.global_mean),
            kept=kept,
            noise=span.noise,
        )
    return float((np.einsum("kr,rs,ks->k", directions, within, directions) / variances).sum())


@metric(
    "within-class variability relative to class means",
    direction="down",
    reference="Papyan 2020; Zhu 2021",
    within=True,
    workspace=_workspace_of_span,
)
def nc1(moments: Moments, span: Span, convention: Convention) -> float:
    """Within-class scatter in units of the between-class scatter, ``tr(S_W S_B^+) / C``.

    Papyan et al. define the trace, Zhu et al. divide it by C. Rotation, scale and zero-padding leave the value
    unchanged. Debiased, it is infinite where class means differ by no more than their sampling error, and NaN where a
    class has one sample.

    Returns
    -------
    float
        In ``[0, inf)``; 0 at collapse, where every sample lies on its class mean.

    References
    ----------
    Papyan 2020, doi:10.1073/pnas.2015509117; Zhu 2021, arXiv:2105.02375.
    """
    value = _fuzziness(moments, span, convention)
    return value / len(moments.classes) if convention.divided else value


@metric(
    "within-class over between-class variance", direction="down", reference="Tirer 2022; Kothapalli 2022", within=True
)
def nc1_trace(moments: Moments, convention: Convention) -> float:
    """Ratio of the within-class to the between-class variance, ``tr S_W / tr S_B``.

    Unlike `nc1` it needs one pass and no pseudo-inverse, and the widest directions dominate it.

    Returns
    -------
    float
        In ``[0, inf)``; 0 at collapse, where every sample lies on its class mean.

    References
    ----------
    Tirer 2022, arXiv:2210.16658; Kothapalli 2022, arXiv:2206.04041.
    """
    means = _from_origin(moments, moments.centered, convention)
    weights = _weights(moments, convention.between)
    within_weights = _weights(moments, convention.within)
    within = within_weights @ moments.variances
    between = weights @ np.einsum("kd,kd->k", means, means)
    if convention.debiased:
        within = unbiased(moments, within_weights) * within
        between = debiased_between(moments, between, weights, _weights(moments, convention.global_mean))
    return float(within / between)


@metric(
    "class-distance normalised variance",
    direction="down",
    reference="Galanti 2021, 2022",
    within=True,
    workspace=of_pairs,
)
def cdnv(moments: Moments, convention: Convention) -> float:
    """Class-distance normalised variance: mean over pairs of classes of ``(v_c + v_k) / (2 ||mu_c - mu_k||^2)``.

    Rotation, scale and zero-padding leave the value unchanged. Debiased, it is infinite where two class means differ by
    no more than their sampling error, and NaN where a class has one sample.

    Returns
    -------
    float
        In ``[0, inf)``; 0 at collapse.

    References
    ----------
    Galanti 2021, arXiv:2112.15121; Galanti 2022, arXiv:2202.09028.
    """
    variances, noise = moments.variances, None
    if convention.debiased:
        noise = noise_of_means(moments)
        variances = noise * moments.counts
    total = 0.0
    for first, second, squares in pair_distances(moments.centered):
        # A distance of no more than the sampling error of both class means is taken as zero.
        distances = squares if noise is None else (squares - noise[first] - noise[second]).clip(min=0.0)
        total += ((variances[first] + variances[second]) / (2 * distances)).sum()
    count = len(moments.classes)
    return float(total / (count * (count - 1) / 2))


@metric(
    "separation fuzziness",
    direction="down",
    units="log10",
    reference="He & Su 2022",
    within=True,
    workspace=_workspace_of_span,
)
def separation(moments: Moments, span: Span) -> float:
    """Logarithm of the separation fuzziness, ``log10 tr(S_W S_B^+)`` under the convention ``he_su``.

    Where classes are unequal, the convention is ``he_su_imbalanced``. The law of data separation predicts that the
    value falls linearly in the layer index.

    Returns
    -------
    float
        In ``(-inf, inf)``; falls with collapse.

    References
    ----------
    He & Su 2022, doi:10.1073/pnas.2221704120.
    """
    balanced = bool((moments.counts == moments.counts[0]).all())
    name = "he_su" if balanced else "he_su_imbalanced"
    return float(np.log10(_fuzziness(moments, span, CONVENTIONS[name])))


def discriminant_ratios(covariance: Moments, between: np.ndarray, *, keep: float = 1.0, add: float = 0.0) -> np.ndarray:
    """Compute the between-class over within-class variance of every discriminant direction, ``eig(S_W^{-1} S_B)``.

    Parameters
    ----------
    covariance : Moments
        With the within-class covariance.
    between : ndarray
        Rows whose Gram matrix ``B^T B`` is ``S_B``, shape ``(k, d)``.
    keep, add : float
        The within-class covariance is taken as ``keep S_W + add I``.

    Returns
    -------
    ndarray
        One ratio for each direction above rounding, ``C - 1`` at most, shape ``(r,)``.
    """
    count = len(between)
    if add:
        assert covariance.within is not None
        spread, axes = np.linalg.eigh(keep * covariance.within + add * np.eye(between.shape[1]))
    else:
        spread, axes = covariance.within_axes
        between = between @ covariance.range.axes
    # Directions without within-class variance are collapsed: any tiny variance shows it, and can be divided by.
    floor = max(len(spread) * np.finfo(np.float64).eps * spread.max(initial=0.0), np.finfo(np.float64).tiny)
    scaled = (axes.T @ between.T) / np.sqrt(spread.clip(min=floor))[:, None]
    return np.asarray(np.linalg.svd(scaled, compute_uv=False)[: count - 1] ** 2)


@metric(
    "variability collapse index",
    direction="down",
    reference="Xu & Liu 2023",
    within=True,
    fitted="always",
    workspace=workspace_of_ratios,
)
def vci(covariance: Moments, convention: Convention) -> float:
    """Variability collapse index, ``1 - tr(S_T^+ S_B) / min(d, C - 1)`` with ``S_T = S_W + S_B`` of the convention.

    ``d`` is the rank of ``S_T``. Any invertible linear map of the features leaves the value unchanged. It is computed
    as ``tr((I + B^T S_W^{-1} B)^{-1})`` with ``S_B = B B^T``, which stays exact where the difference from one does not.
    Debiased, it is 1 in expectation under labels by chance, and NaN with no more samples than features.

    Returns
    -------
    float
        In ``[0, 1]``; 0 at collapse. NaN where classes are unequal and each counts once in ``S_W`` (``he_su``): that
        scatter is not kept.

    References
    ----------
    Xu & Liu 2023, arXiv:2306.03440.
    """
    if convention.within == "classes" and (covariance.counts != covariance.counts[0]).any():
        return np.nan
    weights = _weights(covariance, convention.between)
    means = _from_origin(covariance, covariance.centered, convention)
    ratios = discriminant_ratios(covariance, np.sqrt(weights)[:, None] * means)
    if not len(ratios):
        return np.nan
    if convention.debiased:
        return float(debiased_residuals(covariance, ratios, weights).mean())
    return float((1 / (1 + ratios)).mean())


@metric(
    "directions that class means span",
    direction="none",
    reference="Papyan 2020",
    integer_valued=True,
    workspace=_workspace_of_span,
)
def between_rank(moments: Moments, span: Span, convention: Convention) -> int:
    """Number of directions that the pseudo-inverse of ``S_B`` keeps: those above rounding.

    Returns
    -------
    int
        In ``[0, C - 1]``; neither direction is collapse.

    References
    ----------
    Papyan 2020, doi:10.1073/pnas.2015509117.
    """
    return int(_between_directions(moments, span, convention)[0].sum())


@metric(
    "variance within a class",
    direction="down",
    units="feature^2",
    dims=("epoch", "split", "target", "layer", "class"),
    reference="Dang 2023, 2024; Hong & Ling 2023",
    least_classes=1,
)
def class_variance(moments: Moments) -> np.ndarray:
    """Variance within each class, ``v_c = mean ||h_i - mu_c||^2``.

    Returns
    -------
    ndarray
        In ``[0, inf)``, one number for each class; 0 at collapse. NaN for a class without samples.

    References
    ----------
    Dang 2023, arXiv:2301.00437; Dang 2024, arXiv:2401.02058; Hong & Ling 2023, arXiv:2309.09725.
    """
    return moments.by_label(moments.variances)
