"""Restore a network after it ran: buffers, the attributes of its modules, and random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from layerwise.network.graph.trace import same_draws
from layerwise.network.inference import kept_buffers, put_back

__all__ = ["kept_state"]

# Attributes of every module, which are restored elsewhere or do not depend on the data.
_STANDARD = frozenset(("_parameters", "_buffers", "_modules", "training"))


@contextmanager
def kept_state(model: nn.Module) -> Iterator[None]:
    """Restore the buffers, other attributes and random numbers of a network after it ran in this context."""
    saved = [(module, _attributes(module)) for module in model.modules()]
    with kept_buffers(model), same_draws(model):
        try:
            yield
        finally:
            for module, attributes in saved:
                _put_back(vars(module), attributes)


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Return every attribute that a forward may change, and a copy of its content."""
    names = (name for name in vars(module) if name not in _STANDARD and not name.endswith("_hooks"))
    return {name: (value, _content(value)) for name in names for value in [vars(module)[name]]}


def _content(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return value.copy() if type(value) in (list, dict) else None


def _put_back(attributes: dict[str, Any], saved: dict[str, tuple[Any, Any]]) -> None:
    for name, (value, content) in saved.items():
        if attributes.get(name) is not value:
            attributes[name] = value
        if isinstance(value, Tensor):
            if not value.is_meta:
                put_back(value, content)
        elif type(value) is list:
            value[:] = content
        elif type(value) is dict:
            value.clear()
            value.update(content)
    for name in [name for name, value in attributes.items() if name not in saved and isinstance(value, Tensor)]:
        del attributes[name]
