"""Where an operation that permutes, selects or averages moves the axes of its tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

__all__ = ["kept_axes"]

_AVERAGES = frozenset({"mean", "sum", "amax", "amin", "max", "min", "var", "std", "logsumexp"})


def kept_axes(name: str, args: Sequence[Any]) -> tuple[int, ...] | None:
    """Return the axis of an operation's first tensor that each axis of its result comes from.

    Parameters
    ----------
    name : str
        The operation, as `layerwise.network.graph.recorder` records it.
    args : sequence
        Its positional arguments.

    Returns
    -------
    tuple of int or None
        None where the operation is of another kind, or keeps averaged axes with length one.

    Examples
    --------
    >>> import torch
    >>> kept_axes("transpose", (torch.ones(2, 3, 4), 1, 2))
    (0, 2, 1)
    >>> kept_axes("mean", (torch.ones(2, 3, 4), [2]))
    (0, 1)
    """
    if not args or not isinstance(args[0], Tensor):
        return None
    count = args[0].ndim
    every = tuple(range(count))
    if name in ("t", "numpy_T"):
        return every[::-1]
    if name == "permute":
        return tuple(axis % count for axis in args[1])
    if name == "transpose":
        swapped = list(every)
        first, second = args[1] % count, args[2] % count
        swapped[first], swapped[second] = second, first
        return tuple(swapped)
    gone = _gone(name, args, count)
    return None if gone is None else tuple(axis for axis in every if axis not in gone)


def _gone(name: str, args: Sequence[Any], count: int) -> set[int] | None:
    """Return the axes that a selection or an average removes."""
    if len(args) < 2:
        return None
    if name == "select":
        return {args[1] % count}
    axes = [args[1]] if isinstance(args[1], int) and not isinstance(args[1], bool) else args[1]
    kept = len(args) > 2 and args[2] is True
    if name not in _AVERAGES or not isinstance(axes, list | tuple) or not axes or kept:
        return None
    return {axis % count for axis in axes}
