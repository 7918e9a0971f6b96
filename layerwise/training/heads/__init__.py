"""Classifiers that are not trained: their rows are a fixed frame."""

from layerwise.training.heads.fixed import ETFClassifier, FixedClassifier
from layerwise.training.heads.frame_tensors import orthogonal_frame, simplex_etf

__all__ = ["ETFClassifier", "FixedClassifier", "orthogonal_frame", "simplex_etf"]
