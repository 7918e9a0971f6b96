"""The front doors: model and data in, a profile, a similarity, a ranking or a forecast out."""

from layerwise.profiling.profiler import Profiler, profile

__all__ = ["Profiler", "profile"]
