"""Where in the network does the representation collapse? Neural collapse, layer by layer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerwise import adapters, callbacks, data, derive, heads, losses, metrics, plot, statistics, studies, theory
    from layerwise.derive import by_class_size, compare, effective_depth, interval, monotonicity, onset, separation_law
    from layerwise.errors import LayerwiseError
    from layerwise.profiling.profiler import Profiler, profile
    from layerwise.profiling.ranking import rank
    from layerwise.profiling.similarity import similarity
    from layerwise.settings import Settings
    from layerwise.store import export, import_profile, open_store
    from layerwise.training.checkpoint_series import profile_checkpoints
    from layerwise.training.tracker import Tracker

__version__ = "0.1.0"

# Name -> module, and the attribute unless the name is the module itself. Nothing heavy is imported before it is used.
_LAZY = {
    "adapters": "layerwise.adapters",
    "callbacks": "layerwise.training.callbacks",
    "data": "layerwise.data",
    "derive": "layerwise.derive",
    "heads": "layerwise.training.heads",
    "losses": "layerwise.training.losses",
    "metrics": "layerwise.metrics",
    "plot": "layerwise.plot",
    "statistics": "layerwise.statistics",
    "studies": "layerwise.studies",
    "theory": "layerwise.theory",
    "LayerwiseError": "layerwise.errors:LayerwiseError",
    "Profiler": "layerwise.profiling.profiler:Profiler",
    "Settings": "layerwise.settings:Settings",
    "Tracker": "layerwise.training.tracker:Tracker",
    "by_class_size": "layerwise.derive:by_class_size",
    "compare": "layerwise.derive:compare",
    "effective_depth": "layerwise.derive:effective_depth",
    "export": "layerwise.store:export",
    "import_profile": "layerwise.store:import_profile",
    "interval": "layerwise.derive:interval",
    "monotonicity": "layerwise.derive:monotonicity",
    "onset": "layerwise.derive:onset",
    "open_store": "layerwise.store:open_store",
    "profile": "layerwise.profiling.profiler:profile",
    "profile_checkpoints": "layerwise.training.checkpoint_series:profile_checkpoints",
    "rank": "layerwise.profiling.ranking:rank",
    "separation_law": "layerwise.derive:separation_law",
    "similarity": "layerwise.profiling.similarity:similarity",
    "tunnel": "layerwise.derive:tunnel",
}

__all__ = [
    "LayerwiseError",
    "Profiler",
    "Settings",
    "Tracker",
    "adapters",
    "by_class_size",
    "callbacks",
    "compare",
    "data",
    "derive",
    "effective_depth",
    "export",
    "heads",
    "import_profile",
    "interval",
    "losses",
    "metrics",
    "monotonicity",
    "onset",
    "open_store",
    "plot",
    "profile",
    "profile_checkpoints",
    "rank",
    "separation_law",
    "similarity",
    "statistics",
    "studies",
    "theory",
    "tunnel",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'layerwise' has no attribute {name!r}")
    path, _, attribute = _LAZY[name].partition(":")
    module = import_module(path)
    value = getattr(module, attribute) if attribute else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
