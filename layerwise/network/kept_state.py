"""A network given back as it was: buffers, what its modules keep between forwards, and random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from layerwise.network.graph.trace import same_draws
from layerwise.network.inference import kept_buffers, put_back

__all__ = ["kept_state"]

# What a module holds of itself, and not of the data that went through it.
_OWN = frozenset(("_parameters", "_buffers", "_modules", "training"))


@contextmanager
def kept_state(model: nn.Module) -> Iterator[None]:
    """Run a network in here and leave no trace: its buffers, other attributes and random numbers are put back."""
    held = [(module, _attributes(module)) for module in model.modules()]
    with kept_buffers(model), same_draws(model):
        try:
            yield
        finally:
            for module, attributes in held:
                _put_back(vars(module), attributes)


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Every attribute that a forward may change, and what it holds."""
    names = (name for name in vars(module) if name not in _OWN and not name.endswith("_hooks"))
    return {name: (value, _content(value)) for name in names for value in [vars(module)[name]]}


def _content(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return value.copy() if type(value) in (list, dict) else None


def _put_back(attributes: dict[str, Any], held: dict[str, tuple[Any, Any]]) -> None:
    for name, (value, content) in held.items():
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
    for name in [name for name, value in attributes.items() if name not in held and isinstance(value, Tensor)]:
        del attributes[name]
