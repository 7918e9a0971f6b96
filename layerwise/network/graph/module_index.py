"""An index of the modules of a traced network: lists, weights, and which modules are made alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from layerwise.network.graph.dataflow import Graph
from layerwise.network.graph.records import Call, Slot, Trace

__all__ = ["Modules"]


class Modules:
    """The calls of a trace by their parents and by their classes, and the weights inside them.

    Attributes
    ----------
    children : dict of int to list of int
        The calls in each call, by position in `Trace.calls`; -1 is the whole run.
    kinds : dict of str to list of int
        The calls of each class of module.
    heavy : set of str
        Modules with a weight matrix of their own that are called, or whose weights others take. Towers that do not run
        are left out.
    lookups : set of str
        Those that are never called with data: tables of tokens.
    weighty : set of str
        Modules with a heavy module inside.
    """

    def __init__(self, trace: Trace, live: Graph) -> None:
        self.trace = trace
        self.graph = live
        self.children: dict[int, list[int]] = {}
        self.kinds: dict[str, list[int]] = {}
        used = {call.path for call in trace.calls}
        for index, call in enumerate(trace.calls):
            self.children.setdefault(call.parent, []).append(index)
            self.kinds.setdefault(call.kind, []).append(index)
        for operation in trace.operations:
            used.update(trace.owners[value] for value in operation.inputs if value in trace.owners)
        given_data = {call.path for call in trace.calls if not call.leaf or self.flowing(call.inputs)}
        self.heavy = {path for path, module in trace.modules.items() if module.matrix and path in used}
        self.lookups = {call.path for call in trace.calls if call.path in self.heavy} - given_data
        self.weighty = self.heavy | {path[:end] for path in self.heavy for end in _ends(path)}

    def flowing(self, slots: Sequence[Slot]) -> tuple[Slot, ...]:
        """Return the tensors that are live data."""
        return tuple(slot for slot in slots if self.graph.flows(slot.value))

    def leading(self, slots: Sequence[Slot]) -> Slot:
        """Return the first of several live tensors that the network's first output depends on, else the first."""
        output = next((slot.value for slot in self.flowing(self.trace.outputs)), None)
        leading = (
            slot
            for slot in slots
            if output is not None
            and (self.graph.same(slot.value) == self.graph.same(output) or self.graph.leads(slot.value, output))
        )
        return next(leading, slots[0])

    def parts(self, index: int) -> list[str]:
        """Return the classes of the modules that are called in a call."""
        return [self.trace.calls[part].kind for part in self.children.get(index, [])]

    def unique(self, index: int) -> bool:
        """Return whether no other module of its class is made of the same classes."""
        alike = (other for other in self.kinds[self.trace.calls[index].kind] if other != index)
        return all(self.parts(other) != self.parts(index) for other in alike)

    def alike(self, first: int, second: int) -> bool:
        """Return whether two modules are of one class, or mostly made of the same classes of modules."""
        parts, others = set(self.parts(first)), set(self.parts(second))
        same = self.trace.calls[first].kind == self.trace.calls[second].kind
        return same or 2 * len(parts & others) > max(len(parts), len(others))

    def listed(self, index: int) -> bool:
        """Return whether a call is of a member of a list, the network itself excepted."""
        above = _above(self.trace.calls[index].path)
        return bool(above) and above in self.trace.modules and self.trace.modules[above].container

    def member(self, index: int) -> bool:
        """Return whether a call belongs to a list: its module is in one, or is called over and over."""
        return self.listed(index) or self.repeated(index)

    def repeated(self, index: int) -> bool:
        """Return whether a module is called several times in the same call of its parent."""
        call = self.trace.calls[index]
        return sum(self.trace.calls[other].path == call.path for other in self.children[call.parent]) > 1

    def peers(self, index: int) -> list[Call]:
        """Return the calls of a call's class; for a container, such as Sequential, those of the same list."""
        path, kind = self.trace.calls[index].path, self.trace.calls[index].kind
        calls = [self.trace.calls[other] for other in self.kinds[kind]]
        if not self.trace.modules[path].container:
            return calls
        return [call for call in calls if _above(call.path) == _above(path)]

    @cached_property
    def chains(self) -> list[list[int]]:
        """The lists in which each member but the first takes the output of the one before it."""
        lists: dict[str, list[int]] = {}
        for index, call in enumerate(self.trace.calls):
            if not call.leaf and self.member(index):
                lists.setdefault(_above(call.path), []).append(index)
        return [run for run in lists.values() if len(run) > 1 and self._follow(run)]

    def _follow(self, run: Sequence[int]) -> bool:
        calls = [self.trace.calls[index] for index in run]
        outputs = [{self.graph.same(slot.value) for slot in self.flowing(call.outputs)} for call in calls]
        inputs = [[self.graph.same(slot.value) for slot in self.flowing(call.inputs)[:1]] for call in calls]
        return all(not values.isdisjoint(first) for values, first in zip(outputs, inputs[1:], strict=False))

    def begins(self, index: int) -> bool:
        """Return whether a call takes only inputs of the network, and no later module is made as it is."""
        taken = {self.graph.same(slot.value) for slot in self.flowing(self.trace.calls[index].inputs)}
        return bool(taken) and not any(self.graph.parents[value] for value in taken) and self.unique(index)

    def normed(self, index: int) -> bool:
        """Return whether a call is a chain of weights with their norms, unlike any other module."""
        parts = [self.trace.calls[part] for part in self.children[index]]
        whole = all(not part.leaf for part in parts if part.path in self.weighty)
        return whole and not self.member(index) and self.unique(index)

    def simple(self, index: int) -> bool:
        """Return whether a module is made of leaves, such as a weight with its norm, and belongs to no list."""
        parts = self.children.get(index, [])
        return not self.member(index) and all(self.trace.calls[part].leaf for part in parts)

    def ancestors(self, index: int) -> set[int]:
        """Return the calls around a call, with -1 for the whole run."""
        ancestors: set[int] = set()
        while index >= 0:
            index = self.trace.calls[index].parent
            ancestors.add(index)
        return ancestors

    def single(self, path: str) -> bool:
        """Return whether a module has exactly one weight: a convolution with its norm counts as a leaf."""
        return sum(_within(other, path) for other in self.heavy) == 1

    def share(self, path: str) -> float:
        """Return the share of the network's weights that is in a module."""
        return sum(_within(other, path) for other in self.heavy) / max(len(self.heavy), 1)

    def met(self, path: str) -> int:
        """Count the weights of a module that the data meet: a lookup of tokens meets none."""
        return sum(_within(other, path) for other in self.heavy - self.lookups)


def _above(path: str) -> str:
    return path.rpartition(".")[0]


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith(other + ".")


def _ends(path: str) -> list[int]:
    return [0, *(place for place, letter in enumerate(path) if letter == ".")]
