"""The range of a theorem: outside it there is no number, only an error that names the assumption."""

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
    """Raise `OutOfRange` where the assumption of a theorem does not hold."""
    if not holds:
        raise OutOfRange(f"{theorem} assumes {assumption}")


def positive(theorem: str, **values: float) -> None:
    """Raise `OutOfRange` where a value is not a positive, finite number."""
    for name, value in values.items():
        require(_is_positive(value), theorem, f"{name} > 0, not {value}")


def _is_positive(value: Any) -> bool:
    number = float(value) if isinstance(value, numbers.Real) else np.nan
    return bool(np.isfinite(number)) and number > 0


def class_counts(theorem: str, counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Samples of each class as an integer array ``(K,)``, once they are at least two classes of at least one sample."""
    try:
        found = np.asarray(counts, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    require(found.ndim == 1 and len(found) >= 2, theorem, f"at least two classes, not {counts}")
    whole = bool(np.isfinite(found).all()) and np.array_equal(found, np.round(found)) and bool((found >= 1).all())
    require(whole, theorem, f"a whole number of samples, at least one, in every class, not {counts}")
    return found.astype(np.int64)
