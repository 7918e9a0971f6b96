"""Transferability: how well a linear readout of a layer would predict the labels, in closed form."""

from __future__ import annotations

import numpy as np

from layerwise.metrics.convention import Convention
from layerwise.metrics.debias import debiased_residuals
from layerwise.metrics.registry import metric
from layerwise.metrics.sizes import Sizes, of_svd
from layerwise.metrics.variability import discriminant_ratios, workspace_of_ratios
from layerwise.statistics.bayesian_evidence import BLOCK, linear_evidence
from layerwise.statistics.moments import Moments

__all__ = ["h_score", "ledoit_wolf", "logme"]


@metric(
    "H-score of the labels",
    direction="up",
    reference="Bao 2019; Ibrahim 2021",
    within=True,
    fitted="unless shrunk",
    workspace=workspace_of_ratios,
)
def h_score(covariance: Moments, convention: Convention) -> float:
    """Variance of the whitened features that lies between classes, ``tr(S_T^+ S_B)``.

    ``S_T`` is the covariance of all features and ``S_B`` that of the class means; every sample counts once in both,
    under every convention. Any invertible linear map of the features leaves the value unchanged.

    With ``shrinkage="ledoit_wolf"`` it is ``tr((S_T')^{-1} (1 - a) S_B)``, where ``S_T' = (1 - a) S_T + a tr(S_T)/d I``
    and ``a`` is the intensity of Ledoit & Wolf 2004 (`ledoit_wolf`); rotation and scale leave that unchanged. Debiased
    and without shrinkage, it is 0 in expectation under labels by chance, and NaN with no more samples than features.

    Returns
    -------
    float
        In ``[0, min(d, C - 1)]``; the upper end at collapse.

    References
    ----------
    Bao 2019, arXiv:2212.10082; Ibrahim 2021, arXiv:2110.06893.
    """
    shares, means = covariance.shares, covariance.centered
    between = np.sqrt(shares)[:, None] * (means - shares @ means)
    if convention.shrinkage == "none":
        ratios = discriminant_ratios(covariance, between)
    else:
        kept = 1 - ledoit_wolf(covariance)
        target = np.trace(covariance.covariance) / covariance.features
        ratios = discriminant_ratios(covariance, np.sqrt(kept) * between, keep=kept, add=(1 - kept) * target)
    if convention.debiased and convention.shrinkage == "none":
        residuals = debiased_residuals(covariance, ratios, shares)
        return float(len(residuals) - residuals.sum())
    # The ratios are infinite at exact collapse, where all of the variance is between classes.
    return float((1 - 1 / (1 + ratios)).sum())


def ledoit_wolf(covariance: Moments) -> float:
    """Intensity by which Ledoit & Wolf 2004 shrink the covariance of all features towards ``tr(S)/d I``.

    ``min(1, (mean ||h - mean||^4 - ||S||_F^2) / (N (||S||_F^2 - tr(S)^2/d)))``.

    Returns
    -------
    float
        In ``[0, 1]``; 0 where the covariance is a multiple of the identity. NaN without the fourth moment.

    References
    ----------
    Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4.
    """
    if covariance.fourth is None:
        return np.nan
    whole, width = covariance.covariance, covariance.features
    scale = np.trace(whole) / width
    square = float((whole**2).sum())
    # Directions outside the span of the samples have no variance: each differs from the target by the scale.
    outside = (width - len(whole)) * scale**2
    distance = float(((whole - scale * np.eye(len(whole))) ** 2).sum()) + outside
    noise = max(covariance.fourth - square, 0.0) / float(covariance.counts.sum())
    return min(noise, distance) / distance if distance > 0 else 0.0


def _workspace_of_evidence(sizes: Sizes) -> int:
    width, rows = sizes.covariance, sizes.covariance + sizes.classes
    # Axes and square root of the within-class covariance, the rows that are decomposed, and a block of classes.
    return 2 * width**2 + rows * width + of_svd(rows, width) + 2 * min(rows * sizes.classes, BLOCK)


@metric(
    "log evidence of a linear model of the labels",
    direction="up",
    units="nat",
    reference="You 2021",
    workspace=_workspace_of_evidence,
)
def logme(covariance: Moments) -> float:
    """Largest log evidence of a Bayesian linear model of each class's indicator, over N, averaged over classes.

    ``max over a, b of log p(y | F, a, b) / N`` with ``y = F w + noise``, ``w ~ N(0, I/a)``, ``noise ~ N(0, I/b)`` and
    no intercept. The features are not centred; directions below their rounding are left out. The maximum is global in
    ``a/b``, not the one in which an iteration stops. Rotation, scale and zero-padding leave the value unchanged; an
    offset does not.

    Returns
    -------
    float
        In ``(-inf, inf]``; rises with collapse. Infinite where the features determine the labels in every digit.

    References
    ----------
    You 2021, arXiv:2102.11005.
    """
    return float(linear_evidence(covariance).mean())
