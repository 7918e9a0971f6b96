"""The callbacks of `layerwise.training.callbacks`, under their short name."""

from layerwise.training.callbacks import __all__, __dir__, __getattr__, scalars  # noqa: F401
