"""How a network itself makes one vector of its tokens for its classifier, read off its operations."""

from __future__ import annotations

from typing import Literal

from layerwise.finding.heads import classifiers_of
from layerwise.finding.trace import Operation, Trace

__all__ = ["pooling_of"]

Pooling = Literal["cls", "mean", "last"]

_MEANS = ("mean", "sum")
_PICKS = ("index", "gather", "index_select")


def pooling_of(trace: Trace, head: str | None = None) -> Pooling | None:
    """The first operation on the way up from the classifier that has tokens to begin with, and gives one vector.

    Parameters
    ----------
    trace : Trace
    head : str, optional
        Path of the classifier, where it is known.

    Returns
    -------
    {"cls", "mean", "last"} or None
        None where there is no classifier, or where it makes something else of the tokens. A position that depends on
        the input is taken for that of the last token.
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
    if operation.name in _PICKS:
        return "last"
    if operation.place == (1, 0):
        return "cls"
    return "last" if operation.place == (1, tokens - 1) else None
