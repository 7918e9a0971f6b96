"""Transferability: how well a linear readout of a layer would know the labels, by closed forms."""

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

    ``S_T`` is the covariance of all features and ``S_B`` that of the class means, every sample counting once in both
    under every convention.
    In ``[0, min(d, C - 1)]``, the upper end at collapse; any invertible linear map of the features leaves it as it is.
    Bao et al. 2019. Under a convention with ``shrinkage="ledoit_wolf"`` it is
    ``tr((S_T')^{-1} (1 - a) S_B)`` with ``S_T' = (1 - a) S_T + a tr(S_T)/d I`` and the intensity ``a`` of Ledoit & Wolf
    2004 (`ledoit_wolf`): rotation and scale leave that as it is. Ibrahim, Ponomareva & Mazumder 2021. Debiased, the one
    that is not shrunk is 0 in expectation under labels by chance, and NaN with no more samples than features.
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
        left = debiased_residuals(covariance, ratios, shares)
        return float(len(left) - left.sum())
    # Infinite at exact collapse, where all of the variance is between classes.
    return float((1 - 1 / (1 + ratios)).sum())


def ledoit_wolf(covariance: Moments) -> float:
    """How far Ledoit & Wolf 2004 draw the covariance of all features towards ``tr(S)/d I``; in ``[0, 1]``.

    ``min(1, (mean ||h - mean||^4 - ||S||_F^2) / (N (||S||_F^2 - tr(S)^2/d)))``; NaN without the fourth moment, 0 where
    the covariance is a multiple of the identity.
    """
    if covariance.fourth is None:
        return np.nan
    whole, width = covariance.covariance, covariance.features
    scale = np.trace(whole) / width
    square = float((whole**2).sum())
    # Directions outside the span of the samples have no variance, and lie as far away as the scale.
    beyond = (width - len(whole)) * scale**2
    away = float(((whole - scale * np.eye(len(whole))) ** 2).sum()) + beyond
    noise = max(covariance.fourth - square, 0.0) / float(covariance.counts.sum())
    return min(noise, away) / away if away > 0 else 0.0


def _workspace_of_evidence(sizes: Sizes) -> int:
    width, rows = sizes.covariance, sizes.covariance + sizes.classes
    # Axes and square root of the within-class covariance beside the rows that are decomposed, and a block of classes.
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
    no intercept: features as they are, not centred, directions below their rounding dropped. The
    largest over all ``a/b``, and not where an iteration from one place stops. In ``(-inf, inf]``; infinite where the
    features give the labels in every digit. Rotation, scale and zero-padding leave it as it is; an offset does not.
    You et al. 2021.
    """
    return float(linear_evidence(covariance).mean())
