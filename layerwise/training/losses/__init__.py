"""Losses that draw networks towards collapse, for the user's own training loop."""

from layerwise.training.losses.dot_regression import dot_regression
from layerwise.training.losses.svsl import SVSL
from layerwise.training.losses.variability import within_class_variability

__all__ = ["SVSL", "dot_regression", "within_class_variability"]
