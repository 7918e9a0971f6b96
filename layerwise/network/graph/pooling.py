"""Where a network makes one vector of its positions, and by which operation, read off its trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layerwise.network.graph.classifiers import classifiers_of
from layerwise.network.graph.dataflow import Graph, graph, mixes
from layerwise.network.graph.records import Operation, Trace

__all__ = ["PICKS", "Junction", "junctions", "pooling_of"]

Pooling = Literal["cls", "mean", "last", "max"]

_MEANS = ("mean", "sum")
_GREATEST = ("amax", "max", "max_pool1d", "adaptive_max_pool1d", "adaptive_max_pool2d")
#: Operations that take positions which may depend on the input.
PICKS = ("index", "gather", "index_select")
# Operations that keep the positions of a tensor, or remove some of them.
_KEEPING = frozenset(
    (
        *("slice", "mul", "masked_fill", "where", "transpose", "permute", "view", "_unsafe_view", "alias", "clone"),
        *("_to_copy", "contiguous", "detach", "narrow", "unsqueeze", "squeeze", "expand", "dropout", "native_dropout"),
    )
)
_VIEWS = ("view", "_unsafe_view", "transpose", "permute", "clone", "alias", "reshape", "contiguous", "expand")
_RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Junction:
    """An operation that makes one vector of positions.

    Attributes
    ----------
    operation : str
    source : int
        The value with the positions, before some are masked or cut off.
    pooled : tuple of int
        The vector that the operation makes, and the values made of it up to the next weights.
    """

    operation: str
    source: int
    pooled: tuple[int, ...]


def junctions(trace: Trace, samples: int, head: str | None = None) -> list[Junction]:
    """Find where a network makes one vector of positions, nearest to its output first.

    Below a classifier, or where two towers meet, the vector may be used in any way. In a network without a classifier
    it has to be the output itself, up to a norm: a layer of weights on the first token may be left over from
    pretraining.

    Parameters
    ----------
    trace : Trace
    samples : int
        Number of samples that were traced.
    head : str, optional
        Path of the classifier, where it is known.
    """
    live = graph(trace)
    towers = any(live.seeds[sink].bit_count() > 1 for sink in live.sinks)
    through = bool(classifiers_of(trace, head)) or towers
    makers = {value: operation for operation in trace.operations for value in operation.outputs}
    outputs = [slot.value for slot in trace.outputs if live.same(slot.value) in live.sinks]
    queue = [value for value in dict.fromkeys(outputs) if not has_positions(trace, value, samples)]
    after: dict[int, int] = {}
    places: list[Junction] = []
    while queue:
        value = queue.pop(0)
        operation = makers.get(value)
        if operation is None or (mixes(operation.name) and not through):
            continue
        above = [source for source in operation.inputs if live.flows(source) and trace.values[source].floating]
        wide = [source for source in above if has_positions(trace, source, samples)]
        wide += _sequence(trace, operation, samples)
        if wide and not _of_heads(makers, wide):
            source = _uncut(trace, live, makers, wide[-1] if _recurrent(trace, operation) else wide[0], samples)
            places.append(Junction(operation.name, source, _chain(after, makers, value)))
            continue
        fresh = [source for source in above if source not in after]
        after.update(dict.fromkeys(fresh, value))
        queue += fresh
    return places


def has_positions(trace: Trace, value: int, samples: int) -> bool:
    """Return whether a value has more than features of every sample."""
    shape = list(trace.values[value].shape)
    if samples in shape[:2]:
        shape.pop(shape.index(samples))
    return len(shape) > 1 and sum(size > 1 for size in shape) > 1


def _chain(after: dict[int, int], makers: dict[int, Operation], value: int) -> tuple[int, ...]:
    """Return a value and what is made of it on the way to the output, up to the next weights."""
    chain = [value]
    while chain[-1] in after and not mixes(makers[after[chain[-1]]].name) and len(chain) < 6:
        chain.append(after[chain[-1]])
    return tuple(chain)


def _uncut(trace: Trace, live: Graph, makers: dict[int, Operation], value: int, samples: int) -> int:
    """Return the value with positions that another was cut or masked from."""
    for _ in range(8):
        operation = makers.get(value)
        if operation is None or operation.name not in _KEEPING:
            return value
        above = [source for source in operation.inputs if live.flows(source) and has_positions(trace, source, samples)]
        if len(above) != 1 or len(trace.values[above[0]].shape) < 3:
            return value
        value = above[0]
    return value


def _of_heads(makers: dict[int, Operation], wide: list[int]) -> bool:
    """Return whether values come from an attention: its heads are no positions, its inputs may be."""
    for value in wide:
        operation = makers.get(value)
        while operation is not None and operation.name in _VIEWS:
            operation = makers.get(operation.inputs[0])
        if operation is None or not operation.name.startswith(("bmm", "_scaled_dot", "matmul")):
            return False
    return True


def _recurrent(trace: Trace, operation: Operation) -> bool:
    return operation.call >= 0 and trace.calls[operation.call].kind in _RECURRENT


def _sequence(trace: Trace, operation: Operation, samples: int) -> list[int]:
    """Return the values of a recurrent module at every position, if the operation is part of one."""
    if not _recurrent(trace, operation):
        return []
    return [s.value for s in trace.calls[operation.call].outputs if has_positions(trace, s.value, samples)]


def pooling_of(trace: Trace, head: str | None = None) -> Pooling | None:
    """Find the first operation on the way up from the classifier that takes tokens and makes one vector.

    It is read off the operations alone, without numbers; `layerwise.features.pooling` measures it.

    Parameters
    ----------
    trace : Trace
    head : str, optional
        Path of the classifier, where it is known.

    Returns
    -------
    {"cls", "mean", "last", "max"} or None
        None without a classifier, or where the operation is another. A position that depends on the input counts as the
        last token.
    """
    classifiers = classifiers_of(trace, head)
    if not classifiers:
        return None
    makers = {value: operation for operation in trace.operations for value in operation.outputs}
    stack = [slot.value for slot in classifiers[-1].inputs if trace.values[slot.value].floating]
    seen = set(stack)
    while stack:
        operation = makers.get(stack.pop(0))
        if operation is None or len(trace.values[operation.outputs[0]].shape) != 2:
            continue
        floating = [value for value in operation.inputs if trace.values[value].floating and value not in seen]
        for value in floating:
            shape = trace.values[value].shape
            if len(shape) == 3 and shape[1] > 1:
                return _kind(operation, shape[1])
        stack += floating
        seen.update(floating)
    return None


def _kind(operation: Operation, tokens: int) -> Pooling | None:
    if operation.name in _MEANS:
        return "mean"
    if operation.name in _GREATEST:
        return "max"
    if operation.name in PICKS:
        return "last"
    if operation.place == (1, 0):
        return "cls"
    return "last" if operation.place == (1, tokens - 1) else None
