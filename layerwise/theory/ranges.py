"""The range of a theorem: outside of it, an error names the assumption that does not hold."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from layerwise.errors import LayerwiseError

__all__ = ["OutOfRange", "class_counts", "positive", "require"]


class OutOfRange(LayerwiseError, ValueError):
    """A parameter outside the range of a theorem."""


def require(holds: bool, theorem: str, assumption: str) -> None:
    """Raise `OutOfRange` if the assumption of a theorem does not hold."""
    if not holds:
        raise OutOfRange(f"{theorem} assumes {assumption}")


def positive(theorem: str, **values: float) -> None:
    """Raise `OutOfRange` if a value is not a positive, finite number."""
    for name, value in values.items():
        require(_is_positive(value), theorem, f"{name} > 0, not {value}")


def _is_positive(value: Any) -> bool:
    number = float(value) if isinstance(value, numbers.Real) else np.nan
    return bool(np.isfinite(number)) and number > 0


def class_counts(theorem: str, counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the samples of each class as integers ``(K,)``; there must be two classes or more, none of them empty."""
    try:
        sizes = np.asarray(counts, dtype=np.float64)
    except (TypeError, ValueError):
        sizes = np.empty(0)
    require(sizes.ndim == 1 and len(sizes) >= 2, theorem, f"at least two classes, not {counts}")
    whole = bool(np.isfinite(sizes).all()) and np.array_equal(sizes, np.round(sizes)) and bool((sizes >= 1).all())
    require(whole, theorem, f"a whole number of samples, at least one, in every class, not {counts}")
    return sizes.astype(np.int64)
