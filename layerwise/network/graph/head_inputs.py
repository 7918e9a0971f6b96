"""Which layers a head may read as they are, with no weight and no norm in between."""

from __future__ import annotations

from collections.abc import Sequence

from layerwise.network.graph.classifiers import classifiers_of
from layerwise.network.graph.linear_maps import MIXING
from layerwise.network.graph.records import Operation, Trace
from layerwise.network.layer import Layer

__all__ = ["heads_of", "layers_before"]


def heads_of(trace: Trace, head: str | None, named: Sequence[str]) -> list[str]:
    """Return the paths of the network's heads: those that are known by name, and its classifiers."""
    return list(dict.fromkeys([*named, *(call.path for call in classifiers_of(trace, head))]))


def layers_before(trace: Trace, layers: Sequence[Layer], head: str) -> list[Layer]:
    """Return the layers whose tensor goes into a head without a weight, a gain or a norm on the way.

    Pooling, the choice of a token and functions without weights may remain on the way. Only a run shows whether the
    head reads the layer's features (`layerwise.features.fed_heads`).

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
    before = []
    for layer in layers:
        call = places.get((layer.path, layer.call))
        slots = () if call is None else call.outputs if layer.side == "output" else call.inputs
        if any(slot.item == layer.item and slot.value in reached for slot in slots):
            before.append(layer)
    return before


def _learns_or_norms(trace: Trace, operation: Operation) -> bool:
    learnt = any(value in trace.parameters for value in operation.inputs)
    return learnt or any(word in operation.name for word in (*MIXING, "norm"))
