"""The linear maps that make a network's logits, found in its graph."""

from __future__ import annotations

from layerwise.network.graph.dataflow import Graph, graph
from layerwise.network.graph.records import Call, Trace

__all__ = ["classifiers_of"]

# Operations that may come between a classifier and the network's output.
_READ_OUT = ("softmax", "sigmoid", "slice", "select", "split", "index", "gather", "unbind", "upsample")
# Operations that combine the outputs of several heads.
_COMBINE = ("add", "div", "mul", "mean", "sum", "stack")


def classifiers_of(trace: Trace, head: str | None = None) -> list[Call]:
    """Return the last call of every classifier that changes its input, in execution order.

    Parameters
    ----------
    trace : Trace
    head : str, optional
        Path of the one classifier, where it is known.

    Returns
    -------
    list of Call
        Several where the network returns a tuple or a mapping of the outputs of several heads, or their mean.
    """
    if head is not None:
        calls = [call for call in trace.calls if call.path == head and call.outputs and call.inputs][-1:]
    else:
        live = graph(trace)
        made = {}
        for call in trace.calls:
            if call.leaf and trace.modules[call.path].matrix and not _in_block(trace, call):
                made.update({live.same(slot.value): call for slot in call.outputs if live.flows(slot.value)})
        values = dict.fromkeys(value for sink in live.sinks for value in _heads(live, sink, made))
        calls = sorted((made[value] for value in values), key=trace.calls.index)
    return [call for call in calls if not {slot.value for slot in call.outputs} <= {slot.value for slot in call.inputs}]


def _heads(live: Graph, sink: int, made: dict[int, Call]) -> list[int]:
    """Return the outputs of linear maps that make one output of the network; none if it is made of more."""
    heads: list[int] = []
    stack, seen = [sink], {sink}
    while stack:
        value = stack.pop()
        if value in made:
            heads.append(value)
            continue
        names = _names(live, value)
        read = len(live.parents[value]) == 1 and all(any(word in name for word in _READ_OUT) for name in names)
        if not names or not (read or all(name.rstrip("_") in _COMBINE for name in names)):
            return []
        fresh = [parent for parent in live.parents[value] if parent not in seen]
        stack += fresh
        seen.update(fresh)
    if any(live.leads(first, second) for first in heads for second in heads):
        return []
    return heads


def _names(live: Graph, value: int) -> list[str]:
    """Name the operations that made a value, all of them in a module without children, but for views and copies."""
    if value not in live.maker:
        return []
    made = live.trace.operations[live.maker[value]]
    call = live.trace.calls[made.call]
    inside = live.trace.operations[call.start : call.stop] if made.call >= 0 and call.leaf else (made,)
    return [operation.name for operation in inside if any(output not in live.origin for output in operation.outputs)]


def _in_block(trace: Trace, call: Call) -> bool:
    """Return whether a call is inside a member of a list, which a classifier is not."""
    while call.parent >= 0:
        call = trace.calls[call.parent]
        around = trace.modules.get(call.path.rpartition(".")[0]) if call.path else None
        if around is not None and around.container and not trace.modules[call.path].container:
            return True
    return False
