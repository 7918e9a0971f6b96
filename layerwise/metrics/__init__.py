"""Metrics: functions from finished statistics to numbers, and the registry of them.

The parameters of a metric name the statistics that it takes; `EVIDENCE` lists them. ``C`` is the number of classes,
``N`` that of samples, ``d`` that of features; ``mu_c`` is the mean of class c, ``m_c`` the same less the global mean,
``v_c`` the variance within the class. ``S_W`` and ``S_B`` are the scatter within and between classes, ``S_T`` their
sum.
"""

from layerwise.metrics import (
    complexity,
    geometry,
    imbalance,
    linear,
    nearest,
    rank,
    regression,
    transfer,
    variability,
    weights,
)
from layerwise.metrics.convention import CONVENTIONS, Convention, convention, reached
from layerwise.metrics.registry import EVIDENCE, Metric, compute, get, list_metrics, metric, needs_of, select

__all__ = [
    "CONVENTIONS",
    "EVIDENCE",
    "Convention",
    "Metric",
    "complexity",
    "compute",
    "convention",
    "geometry",
    "get",
    "imbalance",
    "linear",
    "list_metrics",
    "metric",
    "nearest",
    "needs_of",
    "rank",
    "reached",
    "regression",
    "select",
    "transfer",
    "variability",
    "weights",
]
