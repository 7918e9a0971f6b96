"""Tables from `.csv` files, read by pandas alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from layerwise.data.table import is_string

__all__ = ["CsvTable", "read_csv"]

# How compressed files begin, whatever their names end in.
_COMPRESSED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}


class CsvTable:
    """A table in memory."""

    def __init__(self, frame: pd.DataFrame) -> None:
        # Columns of numbers or truth values stay as they are; in others, of objects, None is what is missing.
        plain = [isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in frame.dtypes]
        objects = [name for name, is_plain in zip(frame.columns, plain, strict=True) if not is_plain]
        self._frame = frame.assign(**{name: _with_none(frame[name]) for name in objects})

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [str(name) for name in self._frame.columns]

    def __len__(self) -> int:
        return len(self._frame)

    def type_of(self, name: str) -> str:
        """The type of a column's values."""
        column = self._frame[name]
        if column.dtype != object:
            return str(column.dtype)
        # Beside strings, truth values of which some are missing are the only objects that a file gives.
        return "bool" if any(isinstance(value, bool) for value in column) else "string"

    def classes_of(self, name: str) -> None:
        """No file names the classes of a column."""

    def values(self, name: str) -> np.ndarray:
        """The values of a column."""
        column = self._frame[name]
        return np.asarray(_with_none(column).tolist())

    def missing(self, name: str) -> int:
        """How many values of a column are missing."""
        return int(self._frame[name].isna().sum())

    def frame(self, names: Sequence[str]) -> pd.DataFrame:
        """Columns of numbers."""
        return self._frame[list(names)]

    def row(self, index: int) -> tuple[Any, ...]:
        """The values of one row."""
        return tuple(self._frame.iat[index, place] for place in range(len(self._frame.columns)))

    def pick(self, names: Sequence[str]) -> CsvTable:
        """The table of these columns alone."""
        return CsvTable(self._frame[list(names)])

    def identity(self) -> tuple[str, ...]:
        """Nothing: the file itself is compared."""
        return ()

    def take(self, rows: np.ndarray) -> CsvTable:
        """The rows at these positions."""
        return CsvTable(self._frame.iloc[rows].reset_index(drop=True))


def read_csv(path: Path) -> CsvTable:
    """Read a `.csv` file, compressed or not; in a column of strings "NA" and "null" are strings too.

    What all rows hold in front of the columns that the header names, as row names of R, is not read.
    """
    table = _frame(path)
    own = CsvTable(table)
    gaps = [name for name in table.columns if is_string(own.type_of(name)) and table[name].isna().any()]
    if gaps:
        # Numbers need these words for what is missing, so both readings are made; an empty cell is missing in both.
        literal = _frame(path, keep_default_na=False, na_values=[""])
        own = CsvTable(table.assign(**{name: literal[name] for name in gaps}))
    return own


def _frame(path: Path, **options: Any) -> pd.DataFrame:
    with path.open("rb") as file:
        start = file.read(8)
    compression: Any = next((name for mark, name in _COMPRESSED.items() if start.startswith(mark)), None)
    # The type of a column is that of all its values, wherever in the file they stand.
    table: pd.DataFrame = pd.read_csv(path, compression=compression, low_memory=False, **options)
    return table.reset_index(drop=True)


def _with_none(column: pd.Series[Any]) -> pd.Series[Any]:
    whole = column.astype(object)
    return whole.where(whole.notna(), None)
