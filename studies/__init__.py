"""Studies: published claims made runnable, and the small networks that they train."""

from layerwise.studies.networks import ResidualMLP
from layerwise.studies.training import train

__all__ = ["ResidualMLP", "train"]
