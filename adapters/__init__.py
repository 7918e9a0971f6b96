"""Adapters: where a model comes from, how a batch runs through it, and what its own head is.

Found through the entry points of the group ``layerwise.adapters`` and imported when first needed; a third party adds
one without a change here.
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
    """The adapter of that entry point.

    Raises
    ------
    UnknownName
        Naming the adapters that are installed.
    """
    found = entry_points(group=_GROUP)
    if name not in found.names:
        raise UnknownName("adapter", name, sorted(found.names))
    adapter: Adapter = found[name].load()()
    return adapter


def adapter_for(model: nn.Module) -> Adapter:
    """The adapter that knows a model best: a third party's first, the one for any torch module last."""
    names = sorted(entry_points(group=_GROUP).names, key=lambda name: _LAST.index(name) if name in _LAST else -1)
    return next(adapter for adapter in map(adapter_named, names) if adapter.claims(model))


def load(name: str, *, trust_remote_code: bool = False) -> tuple[nn.Module, Adapter]:
    """Load a model by name: ``timm/NAME``, ``hf/NAME`` or ``package.module:function``.

    Parameters
    ----------
    name : str
    trust_remote_code : bool
        Whether code that comes with a model may run, where an adapter knows of such; otherwise it is refused.

    Raises
    ------
    UnknownName
        If there is no adapter, or no model, of that name.
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
