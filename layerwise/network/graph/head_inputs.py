"""Which layers a head may read as they are: nothing learnt stands between, and no norm."""

from __future__ import annotations

from collections.abc import Sequence

from layerwise.network.graph.classifiers import classifiers_of
from layerwise.network.graph.linear_maps import MIXING
from layerwise.network.graph.records import Operation, Trace
from layerwise.network.layer import Layer

__all__ = ["heads_of", "layers_before"]


def heads_of(trace: Trace, head: str | None, named: Sequence[str]) -> list[str]:
    """Paths of the network's heads: those that are known by name, and its classifiers."""
    return list(dict.fromkeys([*named, *(call.path for call in classifiers_of(trace, head))]))


def layers_before(trace: Trace, layers: Sequence[Layer], head: str) -> list[Layer]:
    """The layers whose tensor goes into a head without a weight, a gain or a norm on the way.

    What is left on the way may be pooling, the choice of a token or a function without weights: whether the layer's
    features are what the head reads is for a run to tell.

    Parameters
    ----------
    trace : Trace
    layers : sequence of Layer
    head : str
        Path of the linear map.
    """
    made_by = {made: operation for operation in trace.operations for made in operation.outputs}
    reached: set[int] = set()
    waiting = [slot.value for call in trace.calls if call.path == head for slot in call.inputs]
    while waiting:
        value = waiting.pop()
        if value in reached:
            continue
        reached.add(value)
        operation = made_by.get(value)
        if operation is not None and not _learns_or_norms(trace, operation):
            waiting += operation.inputs
    places = {(call.path, call.number): call for call in trace.calls}
    found = []
    for layer in layers:
        own = places.get((layer.path, layer.call))
        slots = () if own is None else own.outputs if layer.side == "output" else own.inputs
        if any(slot.item == layer.item and slot.value in reached for slot in slots):
            found.append(layer)
    return found


def _learns_or_norms(trace: Trace, operation: Operation) -> bool:
    learnt = any(value in trace.parameters for value in operation.inputs)
    return learnt or any(word in operation.name for word in (*MIXING, "norm"))
