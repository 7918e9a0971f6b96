"""Adapters: how a kind of model is loaded, how a batch runs through it, and what its own head is.

They are found through the entry points of the group ``layerwise.adapters`` and imported on first use, so that third
parties can add adapters.
"""

from __future__ import annotations

import inspect
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from layerwise.adapters.protocol import Adapter, Batch
from layerwise.errors import UnknownName

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Adapter", "Batch", "adapter_for", "adapter_named", "load"]

_GROUP = "layerwise.adapters"
_LAST = ("huggingface", "timm", "torch")


@cache
def adapter_named(name: str) -> Adapter:
    """Return the adapter of an entry point.

    Raises
    ------
    UnknownName
        If no adapter of that name is installed.
    """
    points = entry_points(group=_GROUP)
    if name not in points.names:
        raise UnknownName("adapter", name, sorted(points.names))
    adapter: Adapter = points[name].load()()
    return adapter


def adapter_for(model: nn.Module) -> Adapter:
    """Return the first adapter that claims a model: those of third parties come first, the one for any module last."""
    names = sorted(entry_points(group=_GROUP).names, key=lambda name: _LAST.index(name) if name in _LAST else -1)
    return next(adapter for adapter in map(adapter_named, names) if adapter.claims(model))


def load(name: str, *, trust_remote_code: bool = False) -> tuple[nn.Module, Adapter]:
    """Load a model by name: ``timm/NAME``, ``hf/NAME`` or ``package.module:function``.

    Parameters
    ----------
    name : str
    trust_remote_code : bool
        Whether code that comes with a model may run; otherwise such a model is refused.

    Raises
    ------
    UnknownName
        If no adapter or no model has that name.
    """
    prefix, slash, rest = name.partition("/")
    if not slash or ":" in prefix:
        adapter = adapter_named("torch")
        if ":" not in name:
            raise UnknownName("model", name, ["timm/NAME", "hf/NAME", "package.module:function"])
        return adapter.load(name), adapter
    adapters = {item.name: item for item in map(adapter_named, sorted(entry_points(group=_GROUP).names))}
    if prefix not in adapters:
        raise UnknownName("kind of model", prefix, [key for key in adapters if key != "torch"])
    adapter = adapters[prefix]
    takes = trust_remote_code and "trust_remote_code" in inspect.signature(adapter.load).parameters
    options = {"trust_remote_code": True} if takes else {}
    return adapter.load(rest, **options), adapter
