"""Losses that draw networks towards collapse, for the user's own training loop."""

from layerwise.training.losses.centre_collapse import centre_collapse
from layerwise.training.losses.dot_regression import dot_regression
from layerwise.training.losses.primed_cross_entropy import primed_cross_entropy
from layerwise.training.losses.svsl import SVSL
from layerwise.training.losses.variability import within_class_variability

__all__ = ["SVSL", "centre_collapse", "dot_regression", "primed_cross_entropy", "within_class_variability"]
