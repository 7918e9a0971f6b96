"""What the modules of a traced network are to one another: lists, weights, and which are made alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from layerwise.network.graph.dataflow import Graph
from layerwise.network.graph.records import Call, Slot, Trace

__all__ = ["Modules"]


class Modules:
    """The calls of a trace by their parents and by their classes, and the weights that are in them.

    Attributes
    ----------
    children : dict of int to list of int
        The calls in each call, by place in `Trace.calls`; -1 is the whole run.
    kinds : dict of str to list of int
        The calls of each class of module.
    heavy : set of str
        Modules with a weight matrix of their own that are called, or whose weights others take: towers that do not run
        have no say.
    lookups : set of str
        Those of them that are never called with data: tables of tokens.
    weighty : set of str
        Modules with any such weight inside.
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
        """The tensors that are live data."""
        return tuple(slot for slot in slots if self.graph.flows(slot.value))

    def parts(self, index: int) -> list[str]:
        """The classes of the modules that are called in a call."""
        return [self.trace.calls[part].kind for part in self.children.get(index, [])]

    def unique(self, index: int) -> bool:
        """Whether no other module of its class is made of the same classes as this one."""
        alike = (other for other in self.kinds[self.trace.calls[index].kind] if other != index)
        return all(self.parts(other) != self.parts(index) for other in alike)

    def alike(self, one: int, other: int) -> bool:
        """Whether two modules are of one class, or made of the same classes of modules in the main."""
        own, others = set(self.parts(one)), set(self.parts(other))
        same = self.trace.calls[one].kind == self.trace.calls[other].kind
        return same or 2 * len(own & others) > max(len(own), len(others))

    def listed(self, index: int) -> bool:
        """Whether a call is of a member of a list, the network itself apart."""
        above = _above(self.trace.calls[index].path)
        return bool(above) and above in self.trace.modules and self.trace.modules[above].container

    def member(self, index: int) -> bool:
        """Whether a call is of a list: its module's own list, or one module called over and over."""
        return self.listed(index) or self.repeated(index)

    def repeated(self, index: int) -> bool:
        """Whether a module is called several times in the same call of its parent."""
        call = self.trace.calls[index]
        return sum(self.trace.calls[other].path == call.path for other in self.children[call.parent]) > 1

    def beside(self, index: int) -> list[Call]:
        """The calls of a call's class; of a class that says nothing, such as Sequential, those of the same list."""
        own = self.trace.calls[index]
        found = [self.trace.calls[other] for other in self.kinds[own.kind]]
        if not self.trace.modules[own.path].container:
            return found
        return [call for call in found if _above(call.path) == _above(own.path)]

    @cached_property
    def chains(self) -> list[list[int]]:
        """The members of every list of which each but the first takes what the one before it gave."""
        lists: dict[str, list[int]] = {}
        for index, call in enumerate(self.trace.calls):
            if not call.leaf and self.member(index):
                lists.setdefault(_above(call.path), []).append(index)
        return [run for run in lists.values() if len(run) > 1 and self._follow(run)]

    def _follow(self, run: Sequence[int]) -> bool:
        calls = [self.trace.calls[index] for index in run]
        given = [{self.graph.same(slot.value) for slot in self.flowing(call.outputs)} for call in calls]
        taken = [[self.graph.same(slot.value) for slot in self.flowing(call.inputs)[:1]] for call in calls]
        return all(not values.isdisjoint(first) for values, first in zip(given, taken[1:], strict=False))

    def single(self, path: str) -> bool:
        """Whether there is but one weight in a module: a convolution with its norm is no more than a leaf."""
        return sum(_within(other, path) for other in self.heavy) == 1

    def share(self, path: str) -> float:
        """Of the network's weights, the share that is in a module."""
        return sum(_within(other, path) for other in self.heavy) / max(len(self.heavy), 1)

    def met(self, path: str) -> int:
        """How many weights of a module the data meet: where tokens are looked up, there are none yet."""
        return sum(_within(other, path) for other in self.heavy - self.lookups)


def _above(path: str) -> str:
    return path.rpartition(".")[0]


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith(other + ".")


def _ends(path: str) -> list[int]:
    return [0, *(place for place, letter in enumerate(path) if letter == ".")]
