"""The fixed classifiers of `layerwise.training.heads`, under their short name."""

from layerwise.training.heads import *  # noqa: F403
from layerwise.training.heads import __all__  # noqa: F401
