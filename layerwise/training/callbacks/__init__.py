"""Callbacks that wrap `layerwise.Tracker` for common training loops.

`ProfileCallback` is for `transformers.Trainer`, `LightningProfileCallback` for Lightning. A loop with accelerate needs
no callback, since every process measures and the first writes::

    tracker = layerwise.Tracker(accelerator.unwrap_model(model), probes, store="runs.lw", run="digits")
    tracker.measure(0, 0)
    for epoch in range(epochs):
        ...
        if (profile := tracker.measure(epoch + 1, step)) is not None:
            accelerator.log(layerwise.callbacks.scalars(profile), step=step)

Pass the loaders of the probes as they are: `accelerator.prepare` would split their samples among the processes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerwise.training.callbacks.scalars import scalars

if TYPE_CHECKING:
    from layerwise.training.callbacks.lightning import LightningProfileCallback
    from layerwise.training.callbacks.transformers import ProfileCallback

__all__ = ["LightningProfileCallback", "ProfileCallback", "scalars"]

# Each imports the package whose callback it is.
_LAZY = {
    "LightningProfileCallback": "layerwise.training.callbacks.lightning",
    "ProfileCallback": "layerwise.training.callbacks.transformers",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'layerwise.training.callbacks' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
