"""Streaming, mergeable float64 statistics of labelled features; they know no model and no metric."""

from layerwise.statistics.centers import CenterProjections, Centers, NearestCenters, Span
from layerwise.statistics.complexity import Complexity, ComplexitySums
from layerwise.statistics.moments import ClassMoments, Moments
from layerwise.statistics.probe import ProbeErrors, RidgeProbe, fit_ridge
from layerwise.statistics.state import Accumulator, State, merged, restore, state_of

__all__ = [
    "Accumulator",
    "CenterProjections",
    "Centers",
    "ClassMoments",
    "Complexity",
    "ComplexitySums",
    "Moments",
    "NearestCenters",
    "ProbeErrors",
    "RidgeProbe",
    "Span",
    "State",
    "fit_ridge",
    "merged",
    "restore",
    "state_of",
]
