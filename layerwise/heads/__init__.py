"""Classifiers that are not trained: their rows are a frame, and features are brought to it."""

from layerwise.heads.fixed import ETFClassifier, FixedClassifier
from layerwise.heads.frames import orthogonal_frame, simplex_etf

__all__ = ["ETFClassifier", "FixedClassifier", "orthogonal_frame", "simplex_etf"]
