"""The search for blocks: which modules are opened, and which outputs are cuts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from layerwise.finding.cuts import Graph, mixes
from layerwise.finding.trace import Call, Slot, Trace

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
        self.children: dict[int, list[int]] = {}
        for index, call in enumerate(trace.calls):
            self.children.setdefault(call.parent, []).append(index)
        self.around = {-1}.union(*map(self._parents, self.heads))
        self.kinds: dict[str, list[int]] = {}
        for index, call in enumerate(trace.calls):
            self.kinds.setdefault(call.kind, []).append(index)
        self.heavy = {path for path, module in trace.modules.items() if module.matrix and path in self._used}
        self.lookups = {path for path in self.heavy if self._looks_up(path)}
        self.weighty = self.heavy | {path[:end] for path in self.heavy for end in _ends(path)}
        self.walks: dict[int, _Walk] = {}
        self.busy: set[str] = set()

    def run(self) -> list[Found]:
        """All layers, in the order in which their values come to be, each value once."""
        found = self.walk(-1).layers
        seen: dict[int, Found] = {}
        for item in sorted(found, key=lambda item: self.graph.same(item.slot.value)):
            seen.setdefault(self.graph.same(item.slot.value), item)
        return list(seen.values())

    def flowing(self, slots: Sequence[Slot]) -> tuple[Slot, ...]:
        """The tensors that are live data."""
        return tuple(slot for slot in slots if self.graph.flows(slot.value))

    def _cut(self, slots: tuple[Slot, ...], index: int, parent: int) -> tuple[Slot, ...]:
        """Of what a call gives, the tensors that are a cut together: the last of them if they can, else all."""
        last = tuple(slot for slot in slots if not any(self.graph.leads(slot.value, other.value) for other in slots))
        for chosen in (last, slots):
            if self._accepts(tuple(slot.value for slot in chosen), parent, index):
                return chosen
        return ()

    def walk(self, index: int) -> _Walk:
        """The layers that a module would have if it were opened."""
        if index in self.walks:
            return self.walks[index]
        walk = self.walks[index] = _Walk()
        pending = -1  # the last module, if it gave no layer
        stack: int | None = None  # place in `layers` of the weight that following leaves belong to
        for child in self.children.get(index, []):
            call = self.trace.calls[child]
            outputs = self.flowing(call.outputs)
            unseen = not outputs and not call.leaf  # what it gives goes on by ways that show no tensor
            if child in self.around or unseen or (index == -1 and not call.leaf):
                walk.layers += self.walk(child).layers
                pending, stack = -1, None
                continue
            if child in self.heads or not outputs:
                stack = None if child in self.heads else stack
                continue
            if call.path not in self.weighty:
                stack = self._follow(walk, stack, child, outputs, index)
                continue
            if pending >= 0 and self._entered(walk, child, index, pending):
                pending = -1
            outputs = self._cut(outputs, child, index)
            if not outputs:
                walk.refused |= self.trace.modules[call.path].container or self.member(child)
                pending, stack = child, None
                continue
            pending, stack = -1, None
            if self.opens(child):
                walk.layers += self.walk(child).layers
                walk.chained = True
                walk.listed.add(call.path)
                continue
            walk.layers.append(Found(child, "output", self._main(outputs), self.member(child)))
            if call.leaf or self._single(call.path):
                walk.groups += 1
                walk.chained |= self.repeated(child)
            elif self.member(child):
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
        share = self._share(call.path)
        if module.container and not walk.chained:
            return walk.groups > 1 and (share >= _STACK or self._begins(index) or self._tail(index))
        if walk.chained:
            listed = sum(self._met(path) for path in walk.listed)
            return module.container or (2 * listed >= self._met(call.path) and not self._vetoed(call.kind))
        wraps = share >= _WRAPPER and not self.member(index)
        return wraps and len(walk.layers) > 1 and not walk.refused

    def _begins(self, index: int) -> bool:
        """Whether all that a call takes is what went into the network, and no later module is made as it is."""
        taken = {self.graph.same(slot.value) for slot in self.flowing(self.trace.calls[index].inputs)}
        if not taken or any(self.graph.parents[value] for value in taken):
            return False
        own = self._made(index)
        return all(self._made(other) != own for other in self.children if other >= 0 and other != index)

    def _tail(self, index: int) -> bool:
        """Whether a call is of weights with their norms, one behind the other, such as no other module is made of."""
        parts = [part for part in self.children[index] if self.trace.calls[part].path in self.weighty]
        if self.member(index) or any(self.trace.calls[part].leaf for part in parts):
            return False
        own = self._made(index)
        return all(self._made(other) != own for other in self.children if other >= 0 and other != index)

    def _made(self, index: int) -> list[str]:
        """The class of the module that is called, and those of the modules that are called in it."""
        return [self.trace.calls[part].kind for part in (index, *self.children.get(index, []))]

    def member(self, index: int) -> bool:
        """Whether a call is of a list: its module's own list, or one module called over and over."""
        above = self.trace.calls[index].path.rpartition(".")[0]
        module = self.trace.modules.get(above)
        return (bool(above) and module is not None and module.container) or self.repeated(index)

    def repeated(self, index: int) -> bool:
        """Whether a module is called several times in the same call of its parent."""
        call = self.trace.calls[index]
        return sum(self.trace.calls[other].path == call.path for other in self.children[call.parent]) > 1

    def _vetoed(self, kind: str) -> bool:
        """Whether some module of a class cannot be opened: then none of that class is.

        A list of unlike parts is no chain of blocks either, if there are several such lists: it is what one block of
        each is made of.
        """
        if kind in self.busy:
            return False
        self.busy.add(kind)
        try:
            walks = [self.walk(index) for index in self.kinds[kind]]
        finally:
            self.busy.discard(kind)
        several = len({self.trace.calls[index].path for index in self.kinds[kind]}) > 1
        unlike = all(len(walk.kinds) > 1 and len(set(walk.kinds)) == len(walk.kinds) for walk in walks)
        return (several and unlike) or any(walk.refused and not walk.chained for walk in walks)

    def _simple(self, index: int) -> bool:
        """Whether a module is a weight with its norm, or a few: not one of a list, and made of leaves."""
        parts = self.children.get(index, [])
        return not self.member(index) and all(self.trace.calls[part].leaf for part in parts)

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
        if self.trace.values[slot.value].shape != shape or not self._accepts((slot.value,), parent, child):
            return None
        if call.start <= self.graph.maker[self.graph.same(slot.value)] < call.stop:
            walk.layers[stack] = Found(child, "output", slot, before.member)
        return stack

    def _entered(self, walk: _Walk, child: int, parent: int, before: int) -> bool:
        """Take what goes into a module for a layer, when what was `before` it was but a branch of that."""
        inputs = self.flowing(self.trace.calls[child].inputs)
        if len({slot.value for slot in inputs}) != 1 or not self._accepts((inputs[0].value,), parent):
            return False
        shapes = {self.trace.values[slot.value].shape for slot in self.trace.calls[before].outputs}
        if self.trace.values[inputs[0].value].shape not in shapes:
            return False
        walk.layers.append(Found(child, "input", inputs[0], self.member(before)))
        if self.member(child):
            walk.chained = True
            walk.listed |= {self.trace.calls[before].path, self.trace.calls[child].path}
        return True

    def _leave(self, walk: _Walk, index: int) -> None:
        """Take what a module gives for a layer, when its last part gave none."""
        outputs = self.flowing(self.trace.calls[index].outputs)
        if outputs:
            walk.layers.append(Found(index, "output", self._main(outputs)))

    def _main(self, outputs: tuple[Slot, ...]) -> Slot:
        """Of several tensors the first that the network's first output is made of."""
        first = next((slot.value for slot in self.flowing(self.trace.outputs)), None)
        leading = (
            slot
            for slot in outputs
            if first is not None
            and (self.graph.same(slot.value) == self.graph.same(first) or self.graph.leads(slot.value, first))
        )
        return next(leading, outputs[0])

    def _accepts(self, values: tuple[int, ...], parent: int, giver: int | None = None) -> bool:
        """Whether values, the outputs of `giver` or of no module, are a cut of their own tower, within one call."""
        span = self.trace.calls[parent] if parent >= 0 else None
        for joint, others in self.graph.joins(values, span):
            if self._long_skip(values, joint, others) or self._beside_stream(values, joint, others, giver, span):
                continue
            own = [self.graph.seeds[self.graph.same(value)] for value in values]
            if not any(self.graph.seeds[other] & seeds for other in others for seeds in own):
                continue
            if not self._linked(values, joint, parent, giver):
                return False
        return True

    def _long_skip(self, values: tuple[int, ...], joint: int, others: tuple[int, ...]) -> bool:
        """Whether a join is the end of a U-Net's skip: at a finer resolution, or put beside, and not at once."""
        far = all(self.graph.positions(value) < self.graph.positions(joint) for value in values)
        if far and all(self.graph.leads(other, value) for other in others for value in values):
            return True
        if self._in_block(joint):
            return far and not self._near(values, joint)
        beside = self.graph.operation(joint) in ("cat", "stack")
        return ((far or beside) and not self._near(values, joint)) or self._round_the_body(joint, others)

    def _round_the_body(self, joint: int, others: tuple[int, ...]) -> bool:
        """Whether what is jumped over is most of the network, and a chain of blocks: it is no block itself."""
        reached = self.graph.reached(others)
        for other in map(self.graph.same, others):
            reached &= ~(1 << other)
        inside = {
            index
            for index, call in enumerate(self.trace.calls)
            for slot in self.flowing(call.outputs)
            if reached >> self.graph.same(slot.value) & 1 and self.graph.leads(slot.value, joint)
        }
        share = len({self.trace.calls[index].path for index in inside} & self.heavy) / max(len(self.heavy), 1)
        return share > _WRAPPER and any(inside.issuperset(chain) for chain in self._chains)

    @cached_property
    def _chains(self) -> list[list[int]]:
        """The members of every list of which each but the first takes what the one before it gave."""
        lists: dict[str, list[int]] = {}
        for index, call in enumerate(self.trace.calls):
            if not call.leaf and self.member(index):
                lists.setdefault(call.path.rpartition(".")[0], []).append(index)
        calls = self.trace.calls
        return [list(run) for run in lists.values() if len(run) > 1 and self._chained([calls[index] for index in run])]

    def _chained(self, calls: Sequence[Call]) -> bool:
        given = [{self.graph.same(slot.value) for slot in self.flowing(call.outputs)} for call in calls]
        taken = [[self.graph.same(slot.value) for slot in self.flowing(call.inputs)[:1]] for call in calls]
        return all(not values.isdisjoint(first) for values, first in zip(given, taken[1:], strict=False))

    def _beside_stream(
        self, values: tuple[int, ...], joint: int, others: tuple[int, ...], giver: int | None, span: Call | None
    ) -> bool:
        """Whether a join is beside the stream that members of a list make, one of which gave `values`.

        Either what earlier members gave is but stacked with it; or all ways from the join to what the span gives lead
        through later members: boxes that a detector refines from layer to layer are such, and an input that is added
        again at every turn of a loop. In a residual stream there are ways past them.
        """
        if giver is None or span is None or self.trace.calls[giver].leaf or not self.member(giver):
            return False
        own = self.trace.calls[giver]
        peers = [call for call in self._peers(giver) if span.start <= call.start and call.stop <= span.stop]
        before = [slot.value for call in peers if call.stop <= own.start for slot in self.flowing(call.outputs)]
        earlier = self.graph.reached(before)
        if self.graph.operation(joint) == "stack" and all(earlier >> self.graph.same(other) & 1 for other in others):
            return True
        behind = [slot for call in peers if call.start >= own.stop for slot in self.flowing(call.outputs)]
        closed = {self.graph.same(slot.value) for slot in behind}
        goals = [self.graph.same(slot.value) for slot in self.flowing(span.outputs)[:1]]
        return any(
            goal in map(self.graph.same, values)
            or (self.graph.leads(values[0], goal) and not self._flows_past(joint, goal, closed))
            for goal in goals
        )

    def _peers(self, index: int) -> list[Call]:
        """The calls that are blocks as a call is: of its class, if it is in a list or one of a few such stacks.

        Of a class that says nothing, such as Sequential, they are those of the same list.
        """
        own = self.trace.calls[index]
        above = own.path.rpartition(".")[0]
        found = [self.trace.calls[other] for other in self.kinds[own.kind]]
        if self.trace.modules[own.path].container:
            return [call for call in found if call.path.rpartition(".")[0] == above]
        listed = above in self.trace.modules and self.trace.modules[above].container
        return found if listed or self.walk(index).chained else [call for call in found if call.path == own.path]

    def _flows_past(self, value: int, goal: int, closed: Collection[int]) -> bool:
        """Whether a value leads to another by a way that is not closed."""
        stack, seen = [value], set(closed)
        while stack:
            current = stack.pop()
            if current not in seen:
                if current == goal:
                    return True
                seen.add(current)
                stack += self.graph.children[current]
        return False

    def _in_block(self, value: int) -> bool:
        """Whether a value is made by a module of which there are several of one class."""
        call = self.trace.operations[self.graph.maker[value]].call
        if call >= 0 and self.trace.calls[call].leaf:
            call = self.trace.calls[call].parent
        return (
            call >= 0 and len({self.trace.calls[other].path for other in self.kinds[self.trace.calls[call].kind]}) > 1
        )

    def _near(self, values: tuple[int, ...], joint: int) -> bool:
        """Whether values reach a join with no weight in between."""
        stack = [self.graph.same(value) for value in values]
        seen = set(stack)
        while stack:
            for child in self.graph.children[stack.pop()]:
                if child == joint:
                    return True
                name = self.graph.operation(child)
                if child not in seen and not mixes(name):
                    seen.add(child)
                    stack.append(child)
        return False

    def _linked(self, values: tuple[int, ...], joint: int, parent: int, giver: int | None) -> bool:
        """Whether a join is inside a later module that takes `values` first, and the other side beside it.

        A module that takes what one of its own kind gave, as RNNs' and NASNet's cells do, may take it anywhere.
        """
        reached = self.graph.reached(values)
        at = self.graph.maker[joint]
        for child in self.children.get(parent, []):
            call = self.trace.calls[child]
            if call.start <= at < call.stop and call.path in self.weighty:
                sides = {slot.item[0]: bool(reached >> slot.value & 1) for slot in self.flowing(call.inputs)}
                first = next(iter(sides.values()), False) or (giver is not None and self._alike(giver, child))
                return first and len(set(sides.values())) > 1
        return False

    def _alike(self, one: int, other: int) -> bool:
        """Whether two modules are of one class, or made of the same classes of modules in the main."""
        if self.trace.calls[one].kind == self.trace.calls[other].kind:
            return True
        own, others = (set(self._made(index)[1:]) for index in (one, other))
        return 2 * len(own & others) > max(len(own), len(others))

    def _single(self, path: str) -> bool:
        """Whether there is but one weight in a module: a convolution with its norm is no more than a leaf."""
        return sum(_within(other, path) for other in self.heavy) == 1

    def _share(self, path: str) -> float:
        return sum(_within(other, path) for other in self.heavy) / max(len(self.heavy), 1)

    def _met(self, path: str) -> int:
        """How many weights of a module the data meet: where tokens are looked up, there are none yet."""
        return sum(_within(other, path) for other in self.heavy - self.lookups)

    @cached_property
    def _used(self) -> set[str]:
        """The modules that are called, or whose weights others take: of towers that do not run there are none."""
        used = {call.path for call in self.trace.calls}
        for operation in self.trace.operations:
            used |= {self.trace.owners[value] for value in operation.inputs if value in self.trace.owners}
        return used

    def _looks_up(self, path: str) -> bool:
        """Whether a module without children is called, and never with data."""
        calls = [call for call in self.trace.calls if call.path == path]
        return bool(calls) and all(call.leaf and not self.flowing(call.inputs) for call in calls)

    def _parents(self, index: int) -> set[int]:
        found: set[int] = set()
        while index >= 0:
            index = self.trace.calls[index].parent
            found.add(index)
        return found


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith(other + ".")


def _ends(path: str) -> list[int]:
    return [0, *(place for place, letter in enumerate(path) if letter == ".")]
