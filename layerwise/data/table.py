"""What every table can be asked, whichever library read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

__all__ = ["Table", "is_number", "is_string"]


class Table(Protocol):
    """Named columns of one length; a missing value is None."""

    @property
    def names(self) -> list[str]:
        """The names of the columns."""

    def __len__(self) -> int: ...

    def type_of(self, name: str) -> str:
        """The type of a column: that of its values, such as ``"int64"`` or ``"string"``, or ``"Image"``."""

    def classes_of(self, name: str) -> tuple[str, ...] | None:
        """The names of a column's classes, where the table has them."""

    def values(self, name: str) -> np.ndarray:
        """The values of a column, shape ``(n, ...)``; of objects where some are missing."""

    def missing(self, name: str) -> int:
        """How many values of a column are missing."""

    def frame(self, names: Sequence[str]) -> pd.DataFrame:
        """Columns of numbers, or of lists of them; a missing number is NaN."""

    def row(self, index: int) -> tuple[Any, ...]:
        """The values of one row, in the order of the columns; images are decoded."""

    def pick(self, names: Sequence[str]) -> Table:
        """The table of these columns alone."""

    def identity(self) -> tuple[str, ...]:
        """What tells a table that is no file from others: its source and its size."""

    def take(self, rows: np.ndarray) -> Table:
        """The rows at these positions."""


def is_string(kind: str) -> bool:
    """Whether a type of `Table.type_of` is that of strings."""
    return kind in ("string", "large_string")


def is_number(kind: str) -> bool:
    """Whether a type of `Table.type_of` is that of single numbers."""
    return kind.startswith(("int", "uint", "float", "bool"))
