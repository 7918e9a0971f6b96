"""Unequal classes: how many samples each has, and the angles among the means of frequent and of rare classes."""

from __future__ import annotations

import numpy as np

from layerwise.metrics.convention import Convention
from layerwise.metrics.geometry import centered
from layerwise.metrics.pairs import unit_rows
from layerwise.metrics.registry import metric
from layerwise.statistics.moments import Moments

__all__ = ["class_count", "majority_cosine", "minority_cosine"]


@metric(
    "samples of a class",
    direction="none",
    units="samples",
    dims=("epoch", "split", "target", "layer", "class"),
    integer_valued=True,
    least_classes=1,
)
def class_count(moments: Moments, sizes: np.ndarray) -> np.ndarray:
    """Samples of each class that the layer has: tokens or pixels where those are the samples, drawn or not.

    Returns
    -------
    ndarray
        In ``[1, inf)``, one number for each class; neither direction is collapse. NaN for a class without samples.
    """
    return moments.by_label(sizes)


@metric("cosine of the means of frequent classes", direction="none", reference="Fang 2021; Thrampoulidis 2022")
def majority_cosine(moments: Moments, sizes: np.ndarray, convention: Convention) -> float:
    """Mean of ``cos(m_c, m_k)`` over pairs of classes with at least the average number of samples.

    Returns
    -------
    float
        In ``[-1, 1]``; ``-1/(C-1)`` on a simplex ETF. NaN with fewer than two such classes.

    References
    ----------
    Fang 2021, arXiv:2101.12699; Thrampoulidis 2022, arXiv:2208.05512.
    """
    return _mean_cosine(centered(moments, convention)[sizes >= sizes.mean()])


@metric("cosine of the means of rare classes", direction="none", reference="Fang 2021; Thrampoulidis 2022")
def minority_cosine(moments: Moments, sizes: np.ndarray, convention: Convention) -> float:
    """Mean of ``cos(m_c, m_k)`` over pairs of classes with fewer samples than the average.

    Returns
    -------
    float
        In ``[-1, 1]``; ``-1/(C-1)`` on a simplex ETF, and 1 at minority collapse, where the means of rare classes
        coincide. NaN with fewer than two such classes, and so where all classes are equal.

    References
    ----------
    Fang 2021, arXiv:2101.12699; Thrampoulidis 2022, arXiv:2208.05512.
    """
    return _mean_cosine(centered(moments, convention)[sizes < sizes.mean()])


def _mean_cosine(means: np.ndarray) -> float:
    """Mean cosine over pairs of rows ``(k, d)``, from ``||sum u||^2`` over all pairs at once."""
    count = len(means)
    if count < 2:
        return np.nan
    total = unit_rows(means).sum(0)
    return float((total @ total - count) / (count * (count - 1)))
