"""Classifiers and maps with fixed frames, and a head that is told a bias attribute."""

from layerwise.training.heads.adaptive_etf import AdaptiveETF
from layerwise.training.heads.etf_maps import etf_map, fix_to_etf
from layerwise.training.heads.fixed import ETFClassifier, FixedClassifier
from layerwise.training.heads.frame_tensors import orthogonal_frame, simplex_etf
from layerwise.training.heads.primed import PrimedClassifier

__all__ = [
    "AdaptiveETF",
    "ETFClassifier",
    "FixedClassifier",
    "PrimedClassifier",
    "etf_map",
    "fix_to_etf",
    "orthogonal_frame",
    "simplex_etf",
]
