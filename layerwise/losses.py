"""The losses of `layerwise.training.losses`, under their short name."""

from layerwise.training.losses import *  # noqa: F403
from layerwise.training.losses import __all__  # noqa: F401
