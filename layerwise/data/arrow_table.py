"""Tables from `.parquet` files, folders and the Hugging Face hub, read by the package datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, Value

from layerwise.data.names import DataName
from layerwise.data.table import Table

__all__ = ["ArrowTable", "load"]


class ArrowTable:
    """A table on a disk or in memory, whose pages are read when their values are asked for."""

    def __init__(self, table: Dataset) -> None:
        self.table = table

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.table.column_names)

    def __len__(self) -> int:
        return len(self.table)

    def type_of(self, name: str) -> str:
        """The type of a column's values, or the kind of the column."""
        feature = self.table.features[name]
        return str(feature.dtype) if isinstance(feature, Value) else type(feature).__name__

    def classes_of(self, name: str) -> tuple[str, ...] | None:
        """The names of a column's classes."""
        feature = self.table.features[name]
        return tuple(feature.names) if isinstance(feature, ClassLabel) else None

    def values(self, name: str) -> np.ndarray:
        """The values of a column; of images that are not decoded."""
        return np.asarray(self.table[name][:])

    def missing(self, name: str) -> int:
        """How many values of a column are missing."""
        pieces = self.table.select_columns([name]).with_format("arrow").iter(10_000)
        return sum(piece[name].null_count for piece in pieces)

    def frame(self, names: Sequence[str]) -> pd.DataFrame:
        """Columns of numbers, or of lists of them."""
        found: pd.DataFrame = self.table.select_columns(list(names)).to_pandas()
        return found

    def row(self, index: int) -> tuple[Any, ...]:
        """The values of one row."""
        return tuple(self.table[index].values())

    def pick(self, names: Sequence[str]) -> ArrowTable:
        """The table of these columns alone."""
        return ArrowTable(self.table.select_columns(list(names)))

    def identity(self) -> tuple[str, ...]:
        """What the hub says of a data set, and the size of the table."""
        info = self.table.info
        said = (str(info.builder_name), str(info.config_name), str(info.version))
        return (*said, str(sorted(info.download_checksums or ())), str(self.table.data.nbytes))

    def take(self, rows: np.ndarray) -> ArrowTable:
        """The rows at these positions."""
        return ArrowTable(self.table.select(rows))


def load(request: DataName, path: Path) -> dict[str, Table]:
    """The table of every split."""
    if request.scheme == "parquet":
        found = datasets.load_dataset("parquet", data_files={"train": str(path)})
    elif (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        found = _whole(datasets.load_from_disk(path))
    else:
        name = str(path) if path.is_dir() else request.path
        # Releases before 4 ask on the terminal whether to run a script.
        found = datasets.load_dataset(name, request.options.get("config"), trust_remote_code=False)
    splits = {"train": found} if isinstance(found, Dataset) else found
    return {split: ArrowTable(table) for split, table in splits.items()}


def _whole(found: Dataset | datasets.DatasetDict) -> Dataset | datasets.DatasetDict:
    """What was mapped from a disk, if its values lie within it: to read others would end the process."""
    for table in [found] if isinstance(found, Dataset) else found.values():
        table.data.validate(full=True)
    return found
