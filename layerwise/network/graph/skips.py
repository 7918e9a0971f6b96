"""Decide which values are cuts of a network: which data bypasses them, and where it joins what depends on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from layerwise.network.graph.dataflow import Graph, mixes
from layerwise.network.graph.module_index import Modules
from layerwise.network.graph.records import Call

__all__ = ["Cuts"]

Values = tuple[int, ...]

# A skip around more than this share of the weights bypasses the network, not a block.
_MOST = 0.5


class Cuts:
    """Decide whether values are a cut of a network.

    Parameters
    ----------
    modules : Modules
    stacks : callable
        Returns whether the module of a call is itself a stack of blocks.
    """

    def __init__(self, modules: Modules, stacks: Callable[[int], bool]) -> None:
        self.modules = modules
        self.graph = modules.graph
        self.trace = modules.trace
        self.stacks = stacks

    def accepts(self, values: Values, parent: int, giver: int | None = None) -> bool:
        """Return whether values, which the call `giver` may have made, are a cut of their tower, within one call."""
        span = self.trace.calls[parent] if parent >= 0 else None
        for joint, others in self.graph.joins(values, span):
            if self._long_skip(values, joint, others) or self._off_the_stream(values, joint, others, giver, span):
                continue
            towers = [self.graph.seeds[self.graph.same(value)] for value in values]
            if not any(self.graph.seeds[other] & tower for other in others for tower in towers):
                continue
            if not self._linked(values, joint, parent, giver):
                return False
        return True

    def _long_skip(self, values: Values, joint: int, others: Values) -> bool:
        """Return whether a join ends a U-Net's skip: at a finer resolution, or by concatenation, and not at once.

        A concatenation inside one of several like modules is no such end, as in cross-stage networks.
        """
        far = all(self.graph.positions(value) < self.graph.positions(joint) for value in values)
        if far and all(self.graph.leads(other, value) for other in others for value in values):
            return True
        if self._in_block(joint):
            return far and not _meets_without_weights(self.graph, values, joint)
        concatenated = self.graph.operation(joint) in ("cat", "stack")
        late = (far or concatenated) and not _meets_without_weights(self.graph, values, joint)
        return late or self._around_the_body(joint, others)

    def _in_block(self, value: int) -> bool:
        """Return whether a value is made by one of several modules of a class."""
        index = self.trace.operations[self.graph.maker[value]].call
        if index >= 0 and self.trace.calls[index].leaf:
            index = self.trace.calls[index].parent
        if index < 0:
            return False
        return len({self.trace.calls[other].path for other in self.modules.kinds[self.trace.calls[index].kind]}) > 1

    def _around_the_body(self, joint: int, others: Values) -> bool:
        """Return whether a skip bypasses most of the network, and a chain of blocks, instead of one block."""
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
        """Return whether a join is off the stream that members of a list make; `giver`, which made `values`, is one.

        Either it only stacks the outputs of earlier members with them; or all ways from the join to the outputs of the
        span lead through later members. Examples are the boxes that a detector refines from layer to layer, and an
        input that is added again at every turn of a loop. In a residual stream there are ways past later members.
        """
        if giver is None or span is None or self.trace.calls[giver].leaf or not self.modules.member(giver):
            return False
        maker = self.trace.calls[giver]
        stack = self.modules.listed(giver) or self.stacks(giver)
        peers = [
            call
            for call in self.modules.peers(giver)
            if span.start <= call.start and call.stop <= span.stop and (stack or call.path == maker.path)
        ]
        before = [call for call in peers if call.stop <= maker.start]
        earlier = self.graph.reached(slot.value for call in before for slot in self.modules.flowing(call.outputs))
        if self.graph.operation(joint) == "stack" and all(earlier >> other & 1 for other in others):
            return True
        if self._only_stacked(joint, others, values, [*before, maker]):
            return True
        later = [call for call in peers if call.start >= maker.stop]
        closed = {self.graph.same(slot.value) for call in later for slot in self.modules.flowing(call.outputs)}
        # A module that is called again and again must itself lead nowhere else.
        starts = [joint] if stack else [joint, *map(self.graph.same, values)]
        goals = self._goals(values, span)
        return bool(goals) and all(
            goal in map(self.graph.same, values)
            or (
                self.graph.leads(values[0], goal)
                and not any(_flows_past(self.graph, start, goal, closed) for start in starts)
            )
            for goal in goals
        )

    def _only_stacked(self, joint: int, others: Values, values: Values, calls: Sequence[Call]) -> bool:
        """Return whether a join only stacks values on a new axis, with inputs and outputs of the calls up to theirs."""
        new_axis = len(self.trace.values[joint].shape) > len(self.trace.values[values[0]].shape)
        known = {self.graph.same(slot.value) for call in calls for slot in (*call.inputs[:1], *call.outputs)}
        stack, puts = list(others), ("stack", "cat")
        while stack:
            value = stack.pop()
            if value not in known and 0 not in self.trace.values[value].shape:  # such a list begins empty
                if self.graph.operation(value) not in puts:
                    return False
                stack += self.graph.parents[value]
        return new_axis and self.graph.operation(joint) in puts

    def _goals(self, values: Values, span: Call) -> list[int]:
        """Return the first output of a call, and the others of the shape of `values` that depend on them."""
        shape = self.trace.values[values[0]].shape
        outputs = [slot.value for slot in self.modules.flowing(span.outputs)]
        more = [
            value
            for value in outputs[1:]
            if self.trace.values[value].shape == shape and self.graph.leads(values[0], value)
        ]
        return [self.graph.same(value) for value in (*outputs[:1], *more)]

    def _linked(self, values: Values, joint: int, parent: int, giver: int | None) -> bool:
        """Return whether a join is inside a later module that takes `values` first, and the other side as well.

        A module that takes the output of one of its own kind, as cells of RNNs and NASNet do, may take it anywhere.
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


def _meets_without_weights(graph: Graph, values: Values, joint: int) -> bool:
    """Return whether values reach a join with no weight in between."""
    stack = [graph.same(value) for value in values]
    seen = set(stack)
    while stack:
        for child in graph.children[stack.pop()]:
            if child == joint:
                return True
            if child not in seen and not mixes(graph.operation(child)):
                seen.add(child)
                stack.append(child)
    return False


def _flows_past(graph: Graph, value: int, goal: int, closed: Collection[int]) -> bool:
    """Return whether a value leads to another by a way that is not closed."""
    stack, seen = [value], set(closed)
    while stack:
        current = stack.pop()
        if current not in seen:
            if current == goal:
                return True
            seen.add(current)
            stack += graph.children[current]
    return False
