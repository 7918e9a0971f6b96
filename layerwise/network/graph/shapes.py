"""The shapes of the inputs and outputs of all modules of a network in one forward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from torch import nn

from layerwise.errors import LayerwiseError
from layerwise.network.graph.recorder import parts_of, shape_of, tensors
from layerwise.network.graph.records import Item, Trace
from layerwise.network.graph.trace import same_draws
from layerwise.network.inference import evaluating
from layerwise.network.layer import Layer

__all__ = ["Key", "Shapes", "key_of", "shapes_of", "slots_of", "traced_shapes"]

#: A module's path, which call of it, the side, and the keys that lead to the tensor in its inputs or outputs.
Key = tuple[str, int, str, Item]

Shapes = Mapping[Key, tuple[int, ...]]


def key_of(layer: Layer) -> Key:
    """Return the key of a layer, the same in every forward."""
    return layer.path, layer.call, layer.side, layer.item


def slots_of(traced: Trace) -> dict[Key, int]:
    """Return the values of the inputs and outputs of all modules in a trace."""
    return {
        (call.path, call.number, side, slot.item): slot.value
        for call in traced.calls
        for side, slots in (("input", call.inputs), ("output", call.outputs))
        for slot in slots
    }


def traced_shapes(traced: Trace) -> dict[Key, tuple[int, ...]]:
    """Return the shapes in a trace."""
    return {key: traced.values[value].shape for key, value in slots_of(traced).items()}


def shapes_of(model: nn.Module, run: Callable[[], Any]) -> dict[Key, tuple[int, ...]] | None:
    """Run one forward and return its shapes; None if the network does not run on its input.

    Parameters
    ----------
    model : Module
    run : callable
        Runs one forward of `model`.
    """
    recorder = _Recorder()
    names = {id(module): name for name, module in model.named_modules()}
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(same_draws(model))
        for module in map(model.get_submodule, parts_of(model)):
            name = names[id(module)]
            before, after = recorder.hooks(name)
            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(after).remove)
        try:
            run()
        except LayerwiseError:
            raise
        except Exception:
            # The network may raise any error on an input that does not suit it; its axes stay unknown.
            return None
    return recorder.shapes


class _Recorder:
    """Record shapes while a network runs."""

    def __init__(self) -> None:
        self.shapes: dict[Key, tuple[int, ...]] = {}
        self._calls: Counter[str] = Counter()
        self._open: list[tuple[str, int]] = []

    def hooks(self, path: str) -> tuple[Callable[..., None], Callable[..., None]]:
        """Return the hooks for before and after a module of a path."""

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._calls[path] += 1
            self._open.append((path, self._calls[path]))
            self._record("input", args)
            self._record("input", kwargs)

        def after(_module: nn.Module, _args: Any, output: Any) -> None:
            # A call that ended with an exception has no end of its own.
            while self._open[-1][0] != path:
                self._open.pop()
            self._record("output", output)
            self._open.pop()

        return before, after

    def _record(self, side: str, structure: Any) -> None:
        path, number = self._open[-1]
        for item, tensor in tensors(structure):
            self.shapes[path, number, side, item] = shape_of(tensor)
