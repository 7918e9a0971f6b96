"""What must hold of the layers of any network, read off the raw operations of a trace and nothing else."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from layerwise.network.graph.records import Call
from layerwise.network.graph.trace import Trace
from layerwise.network.layer import Layer

__all__ = [
    "Step",
    "call_of",
    "disordered",
    "is_cut",
    "is_linked",
    "parts",
    "steps",
    "trivial",
    "value_of",
    "weights_behind",
]

_VIEWS = frozenset(
    (
        *("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "squeeze", "unsqueeze", "permute"),
        *("transpose", "t", "alias", "detach", "clone", "contiguous", "_to_copy", "dropout", "lift_fresh"),
    )
)
_WEIGHTED = re.compile(r".*(conv|mm|matmul|linear|attention|lstm|gru|embedding)")
_TRIVIAL = ("Dropout", "Flatten", "Identity", "DropPath", "Dropout2d", "Unflatten")


@dataclass(frozen=True)
class Step:
    """One operation on the data: its name, the shape of what it gave without the batch, and the call it ran in."""

    name: str
    shape: tuple[int, ...]
    call: int = field(compare=False)


def value_of(trace: Trace, layer: Layer) -> int:
    """The number of a layer's tensor in a trace."""
    call = call_of(trace, layer)
    slots = call.outputs if layer.side == "output" else call.inputs
    return next(slot.value for slot in slots if slot.item == layer.item)


def call_of(trace: Trace, layer: Layer) -> Call:
    """The call that a layer is of."""
    return next(call for call in trace.calls if (call.path, call.number) == (layer.path, layer.call))


def weights_behind(trace: Trace) -> list[int]:
    """The products and convolutions that each value comes of, as bits: a block and the norm behind it have the same."""
    behind = [0] * len(trace.values)
    for number, operation in enumerate(trace.operations):
        bits = 1 << number if _WEIGHTED.match(operation.name) else 0
        for value in operation.inputs:
            bits |= behind[value]
        for value in operation.outputs:
            behind[value] = bits
    return behind


def steps(trace: Trace, value: int) -> list[Step]:
    """What was done to the data on its way to a value, views and picks apart: equal for what was computed twice."""
    maker = {made: number for number, operation in enumerate(trace.operations) for made in operation.outputs}
    data = {slot.value for slot in trace.inputs}
    for operation in trace.operations:
        if not data.isdisjoint(operation.inputs):
            data.update(operation.outputs)
    found: set[int] = set()
    stack = [value]
    while stack:
        number = maker.get(stack.pop(), -1)
        if number >= 0 and number not in found:
            found.add(number)
            stack += [item for item in trace.operations[number].inputs if item in data]
    operations = [(number, trace.operations[number]) for number in sorted(found)]
    return [
        Step(operation.name, trace.values[operation.outputs[0]].shape[1:], operation.call)
        for _, operation in operations
        if operation.name not in (*_VIEWS, "select", "slice") and not data.isdisjoint(operation.inputs)
    ]


def parts(trace: Trace, value: int) -> list[int]:
    """The values that one is the mean, the sum or the concatenation of; itself, where it is none."""
    for operation in trace.operations:
        if value in operation.outputs and operation.name in ("add", "div", "mean", "cat", "stack", *_VIEWS):
            data = [item for item in operation.inputs if trace.values[item].floating and item not in trace.parameters]
            if len(data) > 1 or operation.name in ("div", *_VIEWS):
                return [part for item in data for part in parts(trace, item)]
    return [value]


def is_cut(trace: Trace, values: Collection[int]) -> bool:
    """Whether the output of the network is out of the input's reach once these tensors are taken away.

    Data is what is of floating point and comes of a network's input of floating point.
    """
    gone = set(values)
    same: dict[int, set[int]] = {}
    for operation in trace.operations:
        if operation.name in _VIEWS and operation.inputs and len(operation.outputs) == 1:
            one, other = operation.inputs[0], operation.outputs[0]
            if _size(trace, one) == _size(trace, other):
                group = same.setdefault(one, {one}) | same.setdefault(other, {other})
                same.update(dict.fromkeys(group, group))
    for value in values:
        gone |= same.get(value, set())
    reached = {slot.value for slot in trace.inputs if trace.values[slot.value].floating} - gone
    for operation in trace.operations:
        if not reached.isdisjoint(operation.inputs):
            reached.update(value for value in operation.outputs if trace.values[value].floating and value not in gone)
    return all(slot.value not in reached for slot in trace.outputs)


def is_linked(trace: Trace, layers: Sequence[Layer], place: int) -> bool:
    """Whether a layer is a cut beside layers before it that a later module takes as well, in a place of its own.

    Encoders are linked with decoders so, cells with the cells before the last, queries with what they look at, and
    features of several depths where a pyramid takes a list of them. Or the network itself puts the layer beside them,
    as a U-Net does.
    """
    own = value_of(trace, layers[place])
    before = [value_of(trace, layer) for layer in layers[:place]]
    if not is_cut(trace, [own, *before]):
        return False
    behind = _reached(trace, [own])
    aside = _reached(trace, before, without=own) - behind
    shallower = _behind(trace, own).intersection(before)
    for call in trace.calls:
        arguments: dict[str | int, set[bool]] = {}
        for slot in call.inputs:
            if slot.value in behind | aside:
                arguments.setdefault(slot.item[0], set()).add(slot.value in behind)
        if {True} in arguments.values() and {False} in arguments.values():
            return True
        if {True, False} in arguments.values() and not shallower.isdisjoint(slot.value for slot in call.inputs):
            return True
    return any(
        operation.name == "cat"
        and (operation.call < 0 or trace.calls[operation.call].parent < 0)
        and not behind.isdisjoint(operation.inputs)
        and not aside.isdisjoint(operation.inputs)
        for operation in trace.operations
    )


def _reached(trace: Trace, values: Collection[int], without: int = -1) -> set[int]:
    reached = set(values)
    for operation in trace.operations:
        if not (reached - {without}).isdisjoint(operation.inputs):
            reached.update(operation.outputs)
    return reached - {without}


def _behind(trace: Trace, value: int) -> set[int]:
    """All that a value is made of."""
    found = {value}
    for operation in reversed(trace.operations):
        if not found.isdisjoint(operation.outputs):
            found.update(operation.inputs)
    return found - {value}


def disordered(trace: Trace, layers: Sequence[Layer]) -> list[str]:
    """Layers that come before one that they are made of."""
    maker = {made: number for number, operation in enumerate(trace.operations) for made in operation.outputs}
    made = [maker.get(value_of(trace, layer), -1) for layer in layers]
    return [layer.name for layer, one, after in zip(layers, made, made[1:], strict=False) if one > after]


def trivial(layers: Sequence[Layer]) -> list[str]:
    """Blocks that are but a dropout, a flatten or an identity."""
    return [layer.name for layer in layers if layer.role == "block" and layer.kind in _TRIVIAL]


def _size(trace: Trace, value: int) -> int:
    size = 1
    for length in trace.values[value].shape:
        size *= length
    return size
