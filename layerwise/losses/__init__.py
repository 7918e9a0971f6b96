"""Losses that pull networks towards collapse, for training loops of your own."""

from layerwise.losses.dot_regression import dot_regression
from layerwise.losses.svsl import SVSL
from layerwise.losses.variability import within_class_variability

__all__ = ["SVSL", "dot_regression", "within_class_variability"]
