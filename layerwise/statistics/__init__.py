"""Streaming, mergeable float64 statistics of features with labels or targets; they depend on no model or metric."""

from layerwise.statistics.bayesian_evidence import largest_evidence, linear_evidence, target_evidence
from layerwise.statistics.centers import CenterProjections, Centers, NearestCenters, Span
from layerwise.statistics.class_moments import ClassMoments
from layerwise.statistics.complexity import Complexity, ComplexitySums
from layerwise.statistics.fourth import FourthMoment
from layerwise.statistics.hsic import PairwiseHSIC, gram
from layerwise.statistics.moments import Moments
from layerwise.statistics.noise import noise_of_means, noise_variance, unbiased
from layerwise.statistics.probe import ProbeErrors, RidgeProbe, fit_ridge
from layerwise.statistics.state import Accumulator, State, merged, restore, state_of
from layerwise.statistics.targets import Readout, TargetAccumulator, TargetMoments, fit_readout

__all__ = [
    "Accumulator",
    "CenterProjections",
    "Centers",
    "ClassMoments",
    "Complexity",
    "ComplexitySums",
    "FourthMoment",
    "Moments",
    "NearestCenters",
    "PairwiseHSIC",
    "ProbeErrors",
    "Readout",
    "RidgeProbe",
    "Span",
    "State",
    "TargetAccumulator",
    "TargetMoments",
    "fit_readout",
    "fit_ridge",
    "gram",
    "largest_evidence",
    "linear_evidence",
    "merged",
    "noise_of_means",
    "noise_variance",
    "restore",
    "state_of",
    "target_evidence",
    "unbiased",
]
