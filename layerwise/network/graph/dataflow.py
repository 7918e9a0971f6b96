"""The graph of the data's way through a network, and where it can be cut.

A value is *data* when it is of floating point and depends on the network's input. Masks, token numbers, position tables
and parameters are no data; an embedding lookup turns token numbers into data. A set of values is a *cut* when
everything that depends on them depends on no other data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from layerwise.network.graph.records import Call, Operation, Slot, Trace

__all__ = ["Graph", "graph", "mixes"]

_LOOKUPS = frozenset({"embedding", "index", "index_select", "gather", "embedding_bag", "_embedding_bag"})
# Operations that keep the numbers and change their form.
_SAME = frozenset(
    (
        *("view", "_unsafe_view", "reshape", "_reshape_alias", "view_as", "flatten", "unflatten", "squeeze"),
        *("unsqueeze", "permute", "transpose", "t", "alias", "detach", "clone", "contiguous", "identity"),
        *("dropout", "feature_dropout"),
    )
)
# Operations whose features are along axis 1, and along the last axis.
_SECOND = re.compile(
    r"(_?convolution|conv\d|conv_transpose|cudnn_convolution|mkldnn_convolution|.*batch_norm|(native_)?group_norm"
    r"|.*max_pool|.*avg_pool|upsample|pixel_|_?adaptive)"
)
_LAST = re.compile(
    r"(addmm|mm|bmm|baddbmm|matmul|linear|.*layer_norm|.*rms_norm|embedding|_?scaled_dot|_transformer_encoder|glu)"
)
_MIXES = re.compile(
    r"(.*convolution|conv\d|conv_transpose|addmm|mm|bmm|baddbmm|matmul|linear|lstm|gru|rnn|_thnn|_?scaled_dot|embedding)"
)
_STEPS = 40

#: For each axis of a tensor, the axis of another tensor that it equals; None where it equals none.
Places = tuple[int | None, ...]


@dataclass(frozen=True)
class Graph:
    """The live data of a trace; views and copies count as the value that they show, their `origin`.

    Attributes
    ----------
    live : frozenset of int
        Data values that the network's output depends on.
    parents, children : dict of int to tuple of int
        Edges between live values.
    below : dict of int to int
        All values that depend on a live value, as the bits of an integer.
    above : dict of int to int
        The data values that a live value depends on directly, as the bits of an integer.
    maker, users : dict
        The operation that made a value, and those that take it.
    origin : dict of int to int
        The first value with the same numbers, for views and copies.
    sinks : tuple of int
        Outputs of the network that no other output depends on.
    seeds : dict of int to int
        The values where the data that a value depends on entered, as bits: each tower has its own.
    """

    trace: Trace
    live: frozenset[int]
    parents: dict[int, tuple[int, ...]]
    children: dict[int, tuple[int, ...]]
    below: dict[int, int]
    above: dict[int, int]
    maker: dict[int, int]
    users: dict[int, tuple[int, ...]]
    origin: dict[int, int]
    sinks: tuple[int, ...]
    seeds: dict[int, int]

    def same(self, value: int) -> int:
        """Return the first value with the same numbers."""
        return self.origin.get(value, value)

    def flows(self, value: int) -> bool:
        """Return whether a value is live."""
        return self.same(value) in self.live

    def leads(self, value: int, other: int) -> bool:
        """Return whether a second live value depends on the first."""
        return bool(self.below[self.same(value)] >> self.same(other) & 1)

    def reached(self, values: Iterable[int]) -> int:
        """Return the values and all that depends on them, as bits."""
        bits = 0
        for value in map(self.same, values):
            bits |= self.below[value] | 1 << value
        return bits

    def joins(self, values: Sequence[int], span: Call | None) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Find where data that bypassed `values` meets data that depends on them, within one call.

        Yields
        ------
        (int, tuple of int)
            The value that is made where they meet, and the values that came from elsewhere.
        """
        reached = self.reached(values)
        for value in self.live - {self.same(value) for value in values}:
            if not reached >> value & 1 or not self.above[value] & ~reached:
                continue
            if span is None or span.start <= self.maker[value] < span.stop:
                yield value, tuple(parent for parent in self.parents[value] if not reached >> parent & 1)

    def operation(self, value: int) -> str:
        """Return the name of the operation that made a value."""
        return self.trace.operations[self.maker[value]].name if value in self.maker else ""

    def channels(self, value: int) -> int:
        """Return the axis of the features, from the nearest operation on the way that determines it."""
        shape = self.trace.values[value].shape
        if len(shape) < 3:
            return -1
        axis = self._axis(value, forwards=True)
        if axis is None:
            axis = self._axis(value, forwards=False)
        if axis is None:
            axis = 1 if len(shape) > 3 else -1
        return axis

    def positions(self, value: int) -> int:
        """Count the places that the features of all samples lie at: windows and patches may be rows of their own."""
        shape = self.trace.values[value].shape
        return math.prod(shape) // max(shape[self.channels(value)], 1)

    def _axis(self, value: int, forwards: bool) -> int | None:
        whole = len(self.trace.values[value].shape)
        queue: list[tuple[int, Places]] = [(value, tuple(range(whole)))]
        seen = {value}
        for step, (current, places) in enumerate(queue):
            if step > _STEPS:
                return None
            for number in self.users.get(current, ()) if forwards else self._made(current):
                operation = self.trace.operations[number]
                axis = _read_along(operation.name, places)
                if axis is not None:
                    return -1 if axis == whole - 1 else axis
                for other in operation.outputs if forwards else operation.inputs:
                    if other in seen or not self.trace.values[other].floating:
                        continue
                    form = self.trace.values[other].shape
                    kept = _carried(operation, places, self.trace.values[current].shape, form, forwards)
                    if kept is None or len(form) < 2:
                        continue
                    seen.add(other)
                    queue.append((other, kept))
        return None

    def _made(self, value: int) -> tuple[int, ...]:
        return (self.maker[value],) if value in self.maker else ()


def _read_along(name: str, places: Places) -> int | None:
    """Return the axis of the features for an operation, in the tensor that the search began with; never the first."""
    if len(places) > 2 and places[1] and _SECOND.match(name):
        return places[1]
    flat = len(places) == 2 and "batch_norm" in name
    return places[-1] or None if flat or _LAST.match(name) else None


def _carried(
    operation: Operation, places: Places, shape: tuple[int, ...], form: tuple[int, ...], forwards: bool
) -> Places | None:
    """Return where axes lie on the other side of an operation, from `shape` to `form`; None where that is unknown."""
    if operation.kept is not None:
        if forwards:
            return tuple(places[axis] for axis in operation.kept)
        moved: list[int | None] = [None] * len(form)
        for place, axis in zip(places, operation.kept, strict=True):
            moved[axis] = place
        return tuple(moved)
    if form == shape:
        return places
    if operation.name not in _SAME:
        return None
    shared = zip(shape, form, strict=False)
    front = next((axis for axis, pair in enumerate(shared) if pair[0] != pair[1]), min(len(shape), len(form)))
    last = places[-1:] if form[-1:] == shape[-1:] else (None,)
    return (*places[:front], *[None] * (len(form) - front - 1), *last)[: len(form)]


def mixes(operation: str) -> bool:
    """Return whether an operation mixes features by weights: a product or a convolution."""
    return _MIXES.match(operation) is not None


def graph(trace: Trace, further: Iterable[Slot] = ()) -> Graph:
    """Return the live data of a trace, on its way to the network's outputs and to `further` slots."""
    slots = (*trace.outputs, *further)
    data = _data(trace, strict=True)
    if not any(slot.value in data for slot in slots):
        data = _data(trace, strict=False)
    wanted = list(dict.fromkeys(slot.value for slot in slots if slot.value in data))
    maker: dict[int, int] = {}
    users: dict[int, list[int]] = {}
    for number, operation in enumerate(trace.operations):
        for value in operation.inputs:
            users.setdefault(value, []).append(number)
        for value in operation.outputs:
            maker[value] = number
    origin = _origins(trace)
    parents = _merged(_parents(trace, data), origin)
    live = _ancestors((origin.get(value, value) for value in wanted), parents)
    parents = {value: parents.get(value, ()) for value in live}
    children: dict[int, list[int]] = {value: [] for value in live}
    for value in sorted(live):
        for parent in parents[value]:
            children[parent].append(value)
    below: dict[int, int] = {}
    for value in sorted(live, reverse=True):
        below[value] = 0
        for child in children[value]:
            below[value] |= below[child] | 1 << child
    outputs = dict.fromkeys(origin.get(slot.value, slot.value) for slot in trace.outputs)
    outputs = {value: None for value in outputs if value in live}
    sinks = tuple(value for value in outputs if not any(below[value] >> other & 1 for other in outputs))
    return Graph(
        trace,
        frozenset(live),
        parents,
        {value: tuple(items) for value, items in children.items()},
        below,
        {value: sum(1 << parent for parent in set(items)) for value, items in parents.items()},
        maker,
        {value: tuple(items) for value, items in users.items()},
        origin,
        sinks,
        _seeds(live, parents),
    )


def _parents(trace: Trace, data: set[int]) -> dict[int, tuple[int, ...]]:
    """Return the data that every value was made of; a module without children counts as one operation."""
    parents: dict[int, tuple[int, ...]] = {}
    leaves = {number for number, call in enumerate(trace.calls) if call.leaf}
    inside: dict[int, dict[int, None]] = {}  # what has entered a leaf so far
    within: dict[int, int] = {}  # the leaf that made a value
    for operation in trace.operations:
        inputs = tuple(value for value in operation.inputs if value in data)
        if operation.call not in leaves:
            parents.update(dict.fromkeys(operation.outputs, inputs))
            continue
        entered = inside.setdefault(operation.call, {})
        entered.update((value, None) for value in inputs if within.get(value) != operation.call)
        for value in operation.outputs:
            parents[value] = tuple(entered)
            within[value] = operation.call
    return parents


def _merged(parents: dict[int, tuple[int, ...]], origin: dict[int, int]) -> dict[int, tuple[int, ...]]:
    """Return the edges between first values: views and copies count as what they show."""
    return {
        value: tuple(dict.fromkeys(origin.get(parent, parent) for parent in values))
        for value, values in parents.items()
        if value not in origin
    }


def _origins(trace: Trace) -> dict[int, int]:
    origin: dict[int, int] = {}
    for operation in trace.operations:
        if operation.name in _SAME and operation.inputs:
            source = operation.inputs[0]
            for value in operation.outputs:
                if _numel(trace, source) == _numel(trace, value):
                    origin[value] = origin.get(source, source)
    return origin


def _seeds(live: set[int], parents: dict[int, tuple[int, ...]]) -> dict[int, int]:
    seeds: dict[int, int] = {}
    for value in sorted(live):
        seeds[value] = 0 if parents[value] else 1 << value
        for parent in parents[value]:
            seeds[value] |= seeds[parent]
    return seeds


def _data(trace: Trace, strict: bool) -> set[int]:
    """Return the values that carry data; if not `strict`, values of floating point that depend on any input."""
    entered = {slot.value for slot in trace.inputs}
    tokens = {value for value in entered if not trace.values[value].floating}
    data = {value for value in entered if trace.values[value].floating}
    for operation in trace.operations:
        from_data = not data.isdisjoint(operation.inputs)
        from_tokens = not tokens.isdisjoint(operation.inputs)
        if not from_data and not from_tokens:
            continue
        table = trace.values[operation.inputs[0]].floating and operation.name in _LOOKUPS
        for value in operation.outputs:
            if trace.values[value].floating and (from_data or table or not strict):
                data.add(value)
            else:
                tokens.add(value)
    return data


def _ancestors(values: Iterable[int], parents: dict[int, tuple[int, ...]]) -> set[int]:
    ancestors = set(values)
    stack = list(ancestors)
    while stack:
        for parent in parents.get(stack.pop(), ()):
            if parent not in ancestors:
                ancestors.add(parent)
                stack.append(parent)
    return ancestors


def _numel(trace: Trace, value: int) -> int:
    size = 1
    for length in trace.values[value].shape:
        size *= length
    return size
