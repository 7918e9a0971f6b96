"""The record of one forward: its module calls, operations and tensors as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from layerwise.network.layer import Axes

__all__ = ["Call", "Item", "Module", "Operation", "Slot", "Trace", "Value", "reached_from"]

#: Keys that lead to a tensor in nested tuples, dicts and dataclasses.
Item = tuple[str | int, ...]


@dataclass(frozen=True)
class Value:
    """One version of one tensor: its shape, its type, and whether it is of floating point."""

    shape: tuple[int, ...]
    dtype: str
    floating: bool


@dataclass(frozen=True)
class Slot:
    """A tensor among the inputs or outputs of a module: the keys that lead to it, and the number of its value."""

    item: Item
    value: int


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes
    ----------
    name : str
    inputs, outputs : tuple of int
        Numbers of the values.
    call : int
        The innermost module call that ran it, -1 outside all.
    place : tuple of int or None
        Axis and position, if it selects one place along an axis.
    kept : tuple of int or None
        Where its axes come from, if it permutes, selects or averages them
        (`layerwise.network.graph.axis_moves.kept_axes`).
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call: int
    place: tuple[int, int] | None = None
    kept: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Call:
    """One call of one module.

    Attributes
    ----------
    path : str
        The module's first name in `torch.nn.Module.named_modules`.
    number : int
        Which call of that module, from 1.
    kind : str
        The module's class.
    leaf : bool
        Whether the module has no children, or only such as make its weight.
    parent : int
        Position in `Trace.calls` of the call that this one ran in, -1 for none.
    inputs, outputs : tuple of Slot
        The tensors of its arguments (first key: position or keyword) and of what it returned.
    start, stop : int
        Its operations are ``trace.operations[start:stop]``.
    """

    path: str
    number: int
    kind: str
    leaf: bool
    parent: int
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Module:
    """The facts about a module that need no run.

    Attributes
    ----------
    kind : str
        Its class.
    leaf : bool
        Whether it has no children, or only such as make its weight.
    container : bool
        Whether it is list-like: a Sequential, ModuleList or ModuleDict, or of a class derived from one.
    parameters : int
        Number of parameters, those of its children among them.
    matrix : bool
        Whether it has a parameter of two axes or more itself: a weight that mixes features.
    """

    kind: str
    leaf: bool
    container: bool
    parameters: int
    matrix: bool


@dataclass(frozen=True)
class Trace:
    """One forward of a network.

    Attributes
    ----------
    calls : tuple of Call
        In the order in which they began.
    operations : tuple of Operation
        In the order in which they ran.
    values : tuple of Value
        Numbered in the order in which they were made.
    modules : dict of str to Module
        Every module by its first name, called or not.
    parameters : frozenset of int
        Values that are parameters or buffers.
    owners : dict of int to str
        The module that owns each parameter, by its first name.
    inputs, outputs : tuple of Slot
        Tensors that went into and came out of the whole run.
    axes : dict
        Measured axes of the inputs and outputs of modules, by path, call, side and item
        (`layerwise.network.graph.axes`); None where no single axis is that of the samples.
    """

    calls: tuple[Call, ...]
    operations: tuple[Operation, ...]
    values: tuple[Value, ...]
    modules: dict[str, Module]
    parameters: frozenset[int]
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    owners: dict[int, str] = field(default_factory=dict)
    axes: dict[tuple[str, int, str, Item], Axes | None] = field(default_factory=dict)


def reached_from(traced: Trace, values: Iterable[int]) -> set[int]:
    """Return the given values of a trace, and all values that depend on them."""
    reached = set(values)
    for operation in traced.operations:
        if not reached.isdisjoint(operation.inputs):
            reached.update(operation.outputs)
    return reached
