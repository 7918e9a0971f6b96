"""Errors: what was asked, what there is, and the nearest match.

Every error that a caller can cause derives from `LayerwiseError`, and from the built-in that a caller would
have expected, so that ``except ValueError`` keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "BatchDependence",
    "BudgetExceeded",
    "EmptyData",
    "InUse",
    "InvalidData",
    "InvalidLabels",
    "LayerNeverFired",
    "LayerwiseError",
    "NoForwardDerivative",
    "NonFiniteFeatures",
    "NotAStore",
    "NotRepeatable",
    "SchemaMismatch",
    "UnknownName",
    "listed",
    "nearest",
]


class LayerwiseError(Exception):
    """A mistake that the caller can mend."""


class UnknownName(LayerwiseError, LookupError):
    """A name was asked for that is not there.

    Parameters
    ----------
    what : str
        The kind of thing that was looked for, such as ``"layer"``.
    asked : str
        The name that was asked for.
    available : iterable of str
        The names that there are.
    hint : str, optional
        What to do about it.
    """

    def __init__(self, what: str, asked: str, available: Iterable[str], hint: str = "") -> None:
        names = list(dict.fromkeys(available))
        near = nearest(asked, names)
        if near:
            there = f"nearest: {', '.join(near)}"
        elif names:
            there = f"there are: {listed(names)}"
        else:
            there = "there are none"
        super().__init__(f"no {what} {asked!r}; {there}" + (f". {hint}" if hint else ""))


class LayerNeverFired(LayerwiseError, RuntimeError):
    """A chosen layer's module was never called in the forward."""


class InvalidLabels(LayerwiseError, ValueError):
    """Labels that are no integers, or that lie outside the classes."""


class InvalidData(LayerwiseError, ValueError):
    """Data, or a batch of it, that cannot be read as inputs and labels."""


class NoForwardDerivative(LayerwiseError, NotImplementedError):
    """An operation of the network that torch cannot derive in forward mode."""


class EmptyData(LayerwiseError, ValueError):
    """A split without a single sample."""


class InUse(LayerwiseError, RuntimeError):
    """A folder that another profile is writing to."""


class NotRepeatable(LayerwiseError, TypeError):
    """A loader that runs once, where a second run is needed."""


class NonFiniteFeatures(LayerwiseError, ArithmeticError):
    """NaN or infinity in the features of a layer."""


class BatchDependence(LayerwiseError, ValueError):
    """Features of a sample that depend on the samples beside it, on their order, or on padding."""


class BudgetExceeded(LayerwiseError, MemoryError):
    """No plan fits the memory budget."""


class NotAStore(LayerwiseError, ValueError):
    """A path that is not a layerwise store."""


class SchemaMismatch(LayerwiseError, ValueError):
    """A Dataset that is not a profile."""


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first names of a list, and how many there are.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    'a, b, ... (3 in all)'
    """
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def nearest(asked: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The `count` names most like the one that was asked for, best first."""
    lowered = {name.lower(): name for name in names}
    return [lowered[match] for match in difflib.get_close_matches(asked.lower(), lowered, n=count, cutoff=0.5)]
