"""Small networks that train in seconds on a processor."""

from layerwise.studies.networks.perceptron import MLP, ResidualMLP

__all__ = ["MLP", "ResidualMLP"]
