"""Closed forms of neural collapse, and problems whose optimisation checks them: minimisers, frames and objectives."""

from layerwise.theory import descent, frames, optimise, problems
from layerwise.theory.central_path import LossParts, least_squares, loss_parts
from layerwise.theory.complexity import cdnv_bound, pair_cdnv
from layerwise.theory.cross_entropy import CrossEntropyMinimiser, cross_entropy_minimiser, normalised_minimiser
from layerwise.theory.deep_linear import DeepLinearMinimiser, deep_linear_minimiser
from layerwise.theory.fixed_etf import FixedClassifierMinimiser, dot_regression, fixed_classifier_minimiser
from layerwise.theory.frames import Frame
from layerwise.theory.imbalance import (
    MinorityCollapse,
    NonnegativeMinimiser,
    minority_collapse,
    nonnegative_minimiser,
    zero_threshold,
)
from layerwise.theory.linear_heads import LinearHead, linear_head, whitened_head
from layerwise.theory.minimiser import Minimiser
from layerwise.theory.perturbation import FeatureFlow, feature_flow, perturbed_minimiser
from layerwise.theory.predict import implied_feature_decay, predict
from layerwise.theory.ranges import OutOfRange
from layerwise.theory.regression import RegressionMinimiser, regression_minimiser
from layerwise.theory.residual import residual_minimiser
from layerwise.theory.squared_error import SquaredErrorMinimiser, squared_error_minimiser

__all__ = [
    "CrossEntropyMinimiser",
    "DeepLinearMinimiser",
    "FeatureFlow",
    "FixedClassifierMinimiser",
    "Frame",
    "LinearHead",
    "LossParts",
    "Minimiser",
    "MinorityCollapse",
    "NonnegativeMinimiser",
    "OutOfRange",
    "RegressionMinimiser",
    "SquaredErrorMinimiser",
    "cdnv_bound",
    "cross_entropy_minimiser",
    "deep_linear_minimiser",
    "descent",
    "dot_regression",
    "feature_flow",
    "fixed_classifier_minimiser",
    "frames",
    "implied_feature_decay",
    "least_squares",
    "linear_head",
    "loss_parts",
    "minority_collapse",
    "nonnegative_minimiser",
    "normalised_minimiser",
    "optimise",
    "pair_cdnv",
    "perturbed_minimiser",
    "predict",
    "problems",
    "regression_minimiser",
    "residual_minimiser",
    "squared_error_minimiser",
    "whitened_head",
    "zero_threshold",
]
