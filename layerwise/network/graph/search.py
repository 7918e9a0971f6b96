"""The search for blocks: which modules are opened, and which outputs are cuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from layerwise.network.graph.dataflow import Graph
from layerwise.network.graph.module_index import Modules
from layerwise.network.graph.records import Call, Slot, Trace
from layerwise.network.graph.skips import Cuts

__all__ = ["Cut", "Search"]

# A stack of plain leaves is opened when it has this share of the modules with weights: then it is the network. A stack
# that the network begins with is opened too.
_STACK = 0.2
# A module of named parts is opened when it has this share: then it is a wrapper.
_WRAPPER = 0.5


@dataclass(frozen=True)
class Cut:
    """A cut of the network that is a layer.

    Attributes
    ----------
    call : int
        The module call, by position in `Trace.calls`.
    side : {"output", "input"}
    slot : Slot
        The tensor among the outputs or inputs of the call.
    member : bool
        Whether the module belongs to a list of blocks.
    """

    call: int
    side: Literal["output", "input"]
    slot: Slot
    member: bool = False


@dataclass
class _Walk:
    """The layers that a module would have if it were opened, and how they are connected."""

    layers: list[Cut] = field(default_factory=list)
    chained: bool = False  # some of its layers are members of a list, or of an opened module
    refused: bool = False  # some list of it is no chain of cuts
    groups: int = 0  # weights that are layers by themselves
    kinds: list[str] = field(default_factory=list)  # classes of the members of its list
    listed: set[str] = field(default_factory=set)  # its opened modules, and the members of its list


class Search:
    """Find the blocks of one trace."""

    def __init__(self, trace: Trace, live: Graph, classifiers: Sequence[Call]) -> None:
        self.trace = trace
        self.graph = live
        self.heads = {trace.calls.index(classifier) for classifier in classifiers}
        self.modules = Modules(trace, live)
        self.around = {-1}.union(*map(self.modules.ancestors, self.heads))
        self.cuts = Cuts(self.modules, lambda index: self.walk(index).chained)
        self.walks: dict[int, _Walk] = {}
        self.busy: set[str] = set()

    def run(self) -> list[Cut]:
        """Return all layers, in the order in which their values are made, each value once."""
        layers: dict[int, Cut] = {}
        for cut in sorted(self.walk(-1).layers, key=lambda cut: self.graph.same(cut.slot.value)):
            layers.setdefault(self.graph.same(cut.slot.value), cut)
        return list(layers.values())

    def _cut(self, slots: tuple[Slot, ...], index: int, parent: int) -> tuple[Slot, ...]:
        """Return the outputs of a call that are a cut together: the last of them, else all, else none."""
        last = tuple(slot for slot in slots if not any(self.graph.leads(slot.value, other.value) for other in slots))
        for chosen in (last, slots):
            if self.cuts.accepts(tuple(slot.value for slot in chosen), parent, index):
                return chosen
        return ()

    def walk(self, index: int) -> _Walk:
        """Return the layers that a module would have if it were opened."""
        if index in self.walks:
            return self.walks[index]
        walk = self.walks[index] = _Walk()
        pending = -1  # the last module, if its outputs are no layer
        stack: int | None = None  # position in `layers` of the weight that the next leaves belong to
        for child in self.modules.children.get(index, []):
            call = self.trace.calls[child]
            outputs = self.modules.flowing(call.outputs)
            unseen = not outputs and not call.leaf  # its outputs go on without a tensor that shows
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
            walk.layers.append(Cut(child, "output", self.modules.leading(outputs), self.modules.member(child)))
            if call.leaf or self.modules.single(call.path):
                walk.groups += 1
                walk.chained |= self.modules.repeated(child)
            elif self.modules.member(child):
                walk.listed.add(call.path)
                walk.kinds.append(call.kind)
            if call.leaf or self.modules.simple(child):
                stack = len(walk.layers) - 1
        walk.chained |= len(walk.kinds) > 0 and len(walk.kinds) >= walk.groups
        if pending >= 0 and index >= 0 and index not in self.around and self.trace.calls[index].parent >= 0:
            self._leave(walk, index)
        return walk

    def opens(self, index: int) -> bool:
        """Return whether a module is a container of layers rather than a layer."""
        call = self.trace.calls[index]
        if call.leaf:
            return False
        walk = self.walk(index)
        module = self.trace.modules[call.path]
        share = self.modules.share(call.path)
        if module.container and not walk.chained:
            return walk.groups > 1 and (share >= _STACK or self.modules.begins(index) or self.modules.normed(index))
        if walk.chained:
            listed = sum(self.modules.met(path) for path in walk.listed)
            return module.container or (2 * listed >= self.modules.met(call.path) and not self._vetoed(call.kind))
        wraps = share >= _WRAPPER and not self.modules.member(index)
        return wraps and len(walk.layers) > 1 and not walk.refused

    def _vetoed(self, kind: str) -> bool:
        """Return whether some module of a class cannot be opened: then none of that class is.

        A list of unlike parts is no chain of blocks either if there are several such lists: it makes up one block.
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

    def _follow(self, walk: _Walk, stack: int | None, child: int, outputs: tuple[Slot, ...], parent: int) -> int | None:
        """Replace the layer of a weight by the norm or activation after it; a pool ends the stack."""
        call = self.trace.calls[child]
        if stack is None:
            return None
        before = walk.layers[stack]
        shape = self.trace.values[before.slot.value].shape
        slot = outputs[0]
        if self.graph.same(slot.value) == self.graph.same(before.slot.value):
            return stack
        if self.trace.values[slot.value].shape != shape or not self.cuts.accepts((slot.value,), parent, child):
            return None
        if call.start <= self.graph.maker[self.graph.same(slot.value)] < call.stop:
            walk.layers[stack] = Cut(child, "output", slot, before.member)
        return stack

    def _entered(self, walk: _Walk, child: int, parent: int, before: int) -> bool:
        """Make a layer of the input of a module, when the call `before` it is only a branch of that input."""
        inputs = self.modules.flowing(self.trace.calls[child].inputs)
        if len({slot.value for slot in inputs}) != 1 or not self.cuts.accepts((inputs[0].value,), parent):
            return False
        shapes = {self.trace.values[slot.value].shape for slot in self.trace.calls[before].outputs}
        if self.trace.values[inputs[0].value].shape not in shapes:
            return False
        walk.layers.append(Cut(child, "input", inputs[0], self.modules.member(before)))
        if self.modules.member(child):
            walk.chained = True
            walk.listed |= {self.trace.calls[before].path, self.trace.calls[child].path}
        return True

    def _leave(self, walk: _Walk, index: int) -> None:
        """Make a layer of the output of a module, when its last part is none."""
        outputs = self.modules.flowing(self.trace.calls[index].outputs)
        if outputs:
            walk.layers.append(Cut(index, "output", self.modules.leading(outputs)))
