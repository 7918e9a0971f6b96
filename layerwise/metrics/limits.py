"""The number of samples from which on a metric depends on the features; with fewer it is NaN in a profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerwise.metrics.convention import Convention
from layerwise.metrics.registry import Metric
from layerwise.statistics.moments import Moments

__all__ = ["has_enough_samples", "is_empty_fit"]


def has_enough_samples(metric: Metric, evidence: Mapping[str, Any], *, itself: bool) -> bool:
    """Return whether a metric depends on more than the number of samples.

    With one sample in every class, nothing is known of the scatter within a class, and every sample is its own class
    mean. A fit to no more samples than features explains any labels as well as the true ones.

    Parameters
    ----------
    metric : Metric
    evidence : mapping
        As for `compute`.
    itself : bool
        Whether class means and fits come from the same samples. Samples that others judge are always enough.

    Returns
    -------
    bool
    """
    if {"nearest", "probe", "readout"} & set(metric.needs) and not itself:
        return True
    moments: Moments | None = evidence.get("moments")
    if metric.within and moments is not None and moments.counts.max() < 2:
        return False
    return not is_empty_fit(metric, evidence, itself=itself)


def is_empty_fit(metric: Metric, evidence: Mapping[str, Any], *, itself: bool) -> bool:
    """Return whether a metric is measured on the very samples of a fit that has no more samples than features."""
    covariance: Moments | None = evidence.get("covariance")
    judged = bool({"probe", "readout"} & set(metric.needs)) and not itself
    if covariance is None or judged or not _is_fit(metric, evidence["convention"]):
        return False
    return bool(covariance.counts.sum() <= covariance.features)


def _is_fit(metric: Metric, convention: Convention) -> bool:
    return metric.fitted == "always" or (metric.fitted == "unless shrunk" and convention.shrinkage == "none")
