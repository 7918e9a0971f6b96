"""Small networks that train in seconds on a processor."""

from layerwise.studies.networks.perceptron import MLP, ResidualMLP
from layerwise.studies.networks.residual import ResNet
from layerwise.studies.networks.transformer import TextTransformer, VisionTransformer

__all__ = ["MLP", "ResNet", "ResidualMLP", "TextTransformer", "VisionTransformer"]
