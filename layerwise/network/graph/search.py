"""The search for blocks: which modules are opened, and which outputs are cuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from layerwise.network.graph.dataflow import Graph
from layerwise.network.graph.module_index import Modules
from layerwise.network.graph.records import Call, Slot, Trace
from layerwise.network.graph.skips import Joins

__all__ = ["Found", "Search"]

# A stack of plain leaves is opened when it holds this share of the network's weights' modules: then it is the network.
# So is one that the network begins with.
_STACK = 0.2
# A module of named parts is opened when it holds this share: then it is a wrapper.
_WRAPPER = 0.5


@dataclass(frozen=True)
class Found:
    """A layer that was found: which call, which side, which tensor; `member` of a list of blocks or not."""

    call: int
    side: Literal["output", "input"]
    slot: Slot
    member: bool = False


@dataclass
class _Walk:
    """What a module looks like from inside."""

    layers: list[Found] = field(default_factory=list)
    chained: bool = False  # some of its layers are members of a list, or of an opened module
    refused: bool = False  # some list of it is no chain of cuts
    groups: int = 0  # weights that are layers by themselves
    kinds: list[str] = field(default_factory=list)  # classes of the members of its list
    listed: set[str] = field(default_factory=set)  # its opened modules, and the members of its list


class Search:
    """Finds the blocks of one trace."""

    def __init__(self, trace: Trace, live: Graph, classifiers: Sequence[Call]) -> None:
        self.trace = trace
        self.graph = live
        self.heads = {trace.calls.index(classifier) for classifier in classifiers}
        self.around = {-1}.union(*map(self._parents, self.heads))
        self.modules = Modules(trace, live)
        self.joins = Joins(self.modules, lambda index: self.walk(index).chained)
        self.walks: dict[int, _Walk] = {}
        self.busy: set[str] = set()

    def run(self) -> list[Found]:
        """All layers, in the order in which their values come to be, each value once."""
        found = self.walk(-1).layers
        seen: dict[int, Found] = {}
        for item in sorted(found, key=lambda item: self.graph.same(item.slot.value)):
            seen.setdefault(self.graph.same(item.slot.value), item)
        return list(seen.values())

    def _cut(self, slots: tuple[Slot, ...], index: int, parent: int) -> tuple[Slot, ...]:
        """Of what a call gives, the tensors that are a cut together: the last of them if they can, else all."""
        last = tuple(slot for slot in slots if not any(self.graph.leads(slot.value, other.value) for other in slots))
        for chosen in (last, slots):
            if self.joins.accepts(tuple(slot.value for slot in chosen), parent, index):
                return chosen
        return ()

    def walk(self, index: int) -> _Walk:
        """The layers that a module would have if it were opened."""
        if index in self.walks:
            return self.walks[index]
        walk = self.walks[index] = _Walk()
        pending = -1  # the last module, if it gave no layer
        stack: int | None = None  # place in `layers` of the weight that following leaves belong to
        for child in self.modules.children.get(index, []):
            call = self.trace.calls[child]
            outputs = self.modules.flowing(call.outputs)
            unseen = not outputs and not call.leaf  # what it gives goes on by ways that show no tensor
            if child in self.around or unseen or (index == -1 and not call.leaf):
                walk.layers += self.walk(child).layers
                pending, stack = -1, None
                continue
            if child in self.heads or not outputs:
                stack = None if child in self.heads else stack
                continue
            if call.path not in self.modules.weighty:
                stack = self._follow(walk, stack, child, outputs, index)
                continue
            if pending >= 0 and self._entered(walk, child, index, pending):
                pending = -1
            outputs = self._cut(outputs, child, index)
            if not outputs:
                walk.refused |= self.trace.modules[call.path].container or self.modules.member(child)
                pending, stack = child, None
                continue
            pending, stack = -1, None
            if self.opens(child):
                walk.layers += self.walk(child).layers
                walk.chained = True
                walk.listed.add(call.path)
                continue
            walk.layers.append(Found(child, "output", self._main(outputs), self.modules.member(child)))
            if call.leaf or self.modules.single(call.path):
                walk.groups += 1
                walk.chained |= self.modules.repeated(child)
            elif self.modules.member(child):
                walk.listed.add(call.path)
                walk.kinds.append(call.kind)
            if call.leaf or self._simple(child):
                stack = len(walk.layers) - 1
        walk.chained |= len(walk.kinds) > 0 and len(walk.kinds) >= walk.groups
        if pending >= 0 and index >= 0 and index not in self.around and self.trace.calls[index].parent >= 0:
            self._leave(walk, index)
        return walk

    def opens(self, index: int) -> bool:
        """Whether a module is a container of layers rather than one."""
        call = self.trace.calls[index]
        if call.leaf:
            return False
        walk = self.walk(index)
        module = self.trace.modules[call.path]
        share = self.modules.share(call.path)
        if module.container and not walk.chained:
            return walk.groups > 1 and (share >= _STACK or self._begins(index) or self._normed(index))
        if walk.chained:
            listed = sum(self.modules.met(path) for path in walk.listed)
            return module.container or (2 * listed >= self.modules.met(call.path) and not self._vetoed(call.kind))
        wraps = share >= _WRAPPER and not self.modules.member(index)
        return wraps and len(walk.layers) > 1 and not walk.refused

    def _begins(self, index: int) -> bool:
        """Whether all that a call takes is what went into the network, and no later module is made as it is."""
        taken = {self.graph.same(slot.value) for slot in self.modules.flowing(self.trace.calls[index].inputs)}
        return bool(taken) and not any(self.graph.parents[value] for value in taken) and self.modules.unique(index)

    def _normed(self, index: int) -> bool:
        """Whether a call is of weights with their norms, one behind the other, such as no other module is made of."""
        parts = [self.trace.calls[part] for part in self.modules.children[index]]
        whole = all(not part.leaf for part in parts if part.path in self.modules.weighty)
        return whole and not self.modules.member(index) and self.modules.unique(index)

    def _vetoed(self, kind: str) -> bool:
        """Whether some module of a class cannot be opened: then none of that class is.

        A list of unlike parts is no chain of blocks either, if there are several such lists: it is what one block of
        each is made of.
        """
        if kind in self.busy:
            return False
        self.busy.add(kind)
        try:
            walks = [self.walk(index) for index in self.modules.kinds[kind]]
        finally:
            self.busy.discard(kind)
        several = len({self.trace.calls[index].path for index in self.modules.kinds[kind]}) > 1
        unlike = all(len(walk.kinds) > 1 and len(set(walk.kinds)) == len(walk.kinds) for walk in walks)
        return (several and unlike) or any(walk.refused and not walk.chained for walk in walks)

    def _simple(self, index: int) -> bool:
        """Whether a module is a weight with its norm, or a few: not one of a list, and made of leaves."""
        parts = self.modules.children.get(index, [])
        return not self.modules.member(index) and all(self.trace.calls[part].leaf for part in parts)

    def _follow(self, walk: _Walk, stack: int | None, child: int, outputs: tuple[Slot, ...], parent: int) -> int | None:
        """Let a norm or an activation stand for the weight before it; a pool ends the stack."""
        call = self.trace.calls[child]
        if stack is None:
            return None
        before = walk.layers[stack]
        shape = self.trace.values[before.slot.value].shape
        slot = outputs[0]
        if self.graph.same(slot.value) == self.graph.same(before.slot.value):
            return stack
        if self.trace.values[slot.value].shape != shape or not self.joins.accepts((slot.value,), parent, child):
            return None
        if call.start <= self.graph.maker[self.graph.same(slot.value)] < call.stop:
            walk.layers[stack] = Found(child, "output", slot, before.member)
        return stack

    def _entered(self, walk: _Walk, child: int, parent: int, before: int) -> bool:
        """Take what goes into a module for a layer, when what was `before` it was but a branch of that."""
        inputs = self.modules.flowing(self.trace.calls[child].inputs)
        if len({slot.value for slot in inputs}) != 1 or not self.joins.accepts((inputs[0].value,), parent):
            return False
        shapes = {self.trace.values[slot.value].shape for slot in self.trace.calls[before].outputs}
        if self.trace.values[inputs[0].value].shape not in shapes:
            return False
        walk.layers.append(Found(child, "input", inputs[0], self.modules.member(before)))
        if self.modules.member(child):
            walk.chained = True
            walk.listed |= {self.trace.calls[before].path, self.trace.calls[child].path}
        return True

    def _leave(self, walk: _Walk, index: int) -> None:
        """Take what a module gives for a layer, when its last part gave none."""
        outputs = self.modules.flowing(self.trace.calls[index].outputs)
        if outputs:
            walk.layers.append(Found(index, "output", self._main(outputs)))

    def _main(self, outputs: tuple[Slot, ...]) -> Slot:
        """Of several tensors the first that the network's first output is made of."""
        first = next((slot.value for slot in self.modules.flowing(self.trace.outputs)), None)
        leading = (
            slot
            for slot in outputs
            if first is not None
            and (self.graph.same(slot.value) == self.graph.same(first) or self.graph.leads(slot.value, first))
        )
        return next(leading, outputs[0])

    def _parents(self, index: int) -> set[int]:
        found: set[int] = set()
        while index >= 0:
            index = self.trace.calls[index].parent
            found.add(index)
        return found
