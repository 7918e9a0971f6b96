"""Metrics: pure functions from finished statistics to numbers, and their registry."""

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
