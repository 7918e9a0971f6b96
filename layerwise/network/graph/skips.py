"""Which values are cuts of a network: what goes round them, and where it meets again what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from layerwise.network.graph.dataflow import mixes
from layerwise.network.graph.module_index import Modules
from layerwise.network.graph.records import Call

__all__ = ["Joins"]

Values = tuple[int, ...]

# What a skip goes round is the network, not a block, when it holds more than this share of the weights.
_MOST = 0.5


class Joins:
    """Says of values whether they are a cut.

    Parameters
    ----------
    modules : Modules
    stacks : callable
        Whether a call is of a module that is itself a stack of blocks.
    """

    def __init__(self, modules: Modules, stacks: Callable[[int], bool]) -> None:
        self.modules = modules
        self.graph = modules.graph
        self.trace = modules.trace
        self.stacks = stacks

    def accepts(self, values: Values, parent: int, giver: int | None = None) -> bool:
        """Whether values, the outputs of `giver` or of no module, are a cut of their own tower, within one call."""
        span = self.trace.calls[parent] if parent >= 0 else None
        for joint, others in self.graph.joins(values, span):
            if self._long_skip(values, joint, others) or self._off_the_stream(values, joint, others, giver, span):
                continue
            own = [self.graph.seeds[self.graph.same(value)] for value in values]
            if not any(self.graph.seeds[other] & seeds for other in others for seeds in own):
                continue
            if not self._linked(values, joint, parent, giver):
                return False
        return True

    def _long_skip(self, values: Values, joint: int, others: Values) -> bool:
        """Whether a join is the end of a U-Net's skip: at a finer resolution, or put beside, and not at once.

        What one of several like modules puts beside is its own, as in cross-stage networks.
        """
        far = all(self.graph.positions(value) < self.graph.positions(joint) for value in values)
        if far and all(self.graph.leads(other, value) for other in others for value in values):
            return True
        if self._in_block(joint):
            return far and not self._near(values, joint)
        beside = self.graph.operation(joint) in ("cat", "stack")
        return ((far or beside) and not self._near(values, joint)) or self._round_the_body(joint, others)

    def _in_block(self, value: int) -> bool:
        """Whether a value is made by a module of which there are several of one class."""
        index = self.trace.operations[self.graph.maker[value]].call
        if index >= 0 and self.trace.calls[index].leaf:
            index = self.trace.calls[index].parent
        if index < 0:
            return False
        return len({self.trace.calls[other].path for other in self.modules.kinds[self.trace.calls[index].kind]}) > 1

    def _near(self, values: Values, joint: int) -> bool:
        """Whether values reach a join with no weight in between."""
        stack = [self.graph.same(value) for value in values]
        seen = set(stack)
        while stack:
            for child in self.graph.children[stack.pop()]:
                if child == joint:
                    return True
                if child not in seen and not mixes(self.graph.operation(child)):
                    seen.add(child)
                    stack.append(child)
        return False

    def _round_the_body(self, joint: int, others: Values) -> bool:
        """Whether what is jumped over is most of the network, and a chain of blocks: it is no block itself."""
        reached = self.graph.reached(others)
        for other in map(self.graph.same, others):
            reached &= ~(1 << other)
        inside = {
            index
            for index, call in enumerate(self.trace.calls)
            for slot in self.modules.flowing(call.outputs)
            if reached >> self.graph.same(slot.value) & 1 and self.graph.leads(slot.value, joint)
        }
        weights = {self.trace.calls[index].path for index in inside} & self.modules.heavy
        most = len(weights) > _MOST * len(self.modules.heavy)
        return most and any(inside.issuperset(chain) for chain in self.modules.chains)

    def _off_the_stream(self, values: Values, joint: int, others: Values, giver: int | None, span: Call | None) -> bool:
        """Whether a join is beside the stream that members of a list make, one of which gave `values`.

        Either what earlier members gave is but stacked with it; or all ways from the join to what the span gives lead
        through later members: boxes that a detector refines from layer to layer are such, and an input that is added
        again at every turn of a loop. In a residual stream there are ways past them.
        """
        if giver is None or span is None or self.trace.calls[giver].leaf or not self.modules.member(giver):
            return False
        own = self.trace.calls[giver]
        stack = self.modules.listed(giver) or self.stacks(giver)
        peers = [
            call
            for call in self.modules.beside(giver)
            if span.start <= call.start and call.stop <= span.stop and (stack or call.path == own.path)
        ]
        before = [call for call in peers if call.stop <= own.start]
        earlier = self.graph.reached(slot.value for call in before for slot in self.modules.flowing(call.outputs))
        if self.graph.operation(joint) == "stack" and all(earlier >> other & 1 for other in others):
            return True
        if self._kept(joint, others, values, [*before, own]):
            return True
        behind = [call for call in peers if call.start >= own.stop]
        closed = {self.graph.same(slot.value) for call in behind for slot in self.modules.flowing(call.outputs)}
        # One module that is called again and again must itself lead nowhere else.
        ways = [joint] if stack else [joint, *map(self.graph.same, values)]
        goals = self._goals(values, span)
        return bool(goals) and all(
            goal in map(self.graph.same, values)
            or (self.graph.leads(values[0], goal) and not any(self._flows_past(way, goal, closed) for way in ways))
            for goal in goals
        )

    def _kept(self, joint: int, others: Values, values: Values, calls: Sequence[Call]) -> bool:
        """Whether a join but puts values on an axis of its own, with what the calls up to theirs took and gave."""
        along = len(self.trace.values[joint].shape) > len(self.trace.values[values[0]].shape)
        known = {self.graph.same(slot.value) for call in calls for slot in (*call.inputs[:1], *call.outputs)}
        stack, puts = list(others), ("stack", "cat")
        while stack:
            value = stack.pop()
            if value not in known and 0 not in self.trace.values[value].shape:  # such a list begins empty
                if self.graph.operation(value) not in puts:
                    return False
                stack += self.graph.parents[value]
        return along and self.graph.operation(joint) in puts

    def _goals(self, values: Values, span: Call) -> list[int]:
        """What a call gives first, and what else it gives of the form of values that lead to it."""
        form = self.trace.values[values[0]].shape
        given = [slot.value for slot in self.modules.flowing(span.outputs)]
        more = [
            value
            for value in given[1:]
            if self.trace.values[value].shape == form and self.graph.leads(values[0], value)
        ]
        return [self.graph.same(value) for value in (*given[:1], *more)]

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

    def _linked(self, values: Values, joint: int, parent: int, giver: int | None) -> bool:
        """Whether a join is inside a later module that takes `values` first, and the other side beside it.

        A module that takes what one of its own kind gave, as RNNs' and NASNet's cells do, may take it anywhere.
        """
        reached = self.graph.reached(values)
        at = self.graph.maker[joint]
        for child in self.modules.children.get(parent, []):
            call = self.trace.calls[child]
            if call.start <= at < call.stop and call.path in self.modules.weighty:
                sides = {slot.item[0]: bool(reached >> slot.value & 1) for slot in self.modules.flowing(call.inputs)}
                first = next(iter(sides.values()), False)
                return len(set(sides.values())) > 1 and (
                    first or (giver is not None and self.modules.alike(giver, child))
                )
        return False
