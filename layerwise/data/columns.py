"""Which columns of a table are the inputs and the labels, and how inputs are taken from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Image, Value

from layerwise.data.images import Pictures
from layerwise.data.names import Request
from layerwise.data.source import Inputs, Kind
from layerwise.errors import InvalidData, InvalidLabels, UnknownName

__all__ = ["Columns", "choose_columns", "find_column", "inputs_of", "labels_of"]

_LABELS = ("label", "labels", "target", "class", "y")
_TEXTS = ("text", "sentence", "content")
_IMAGES = ("image", "img", "file_name")


@dataclass(frozen=True)
class Columns:
    """The columns of inputs and labels, the kind of inputs, and the names of the classes if the table has them.

    Several columns of labels are a regression target.
    """

    kind: Kind
    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...] | None


class Cells:
    """One column of a table, read when asked for; images are decoded to RGB."""

    def __init__(self, table: Dataset, name: str) -> None:
        self.table = table.select_columns([name])
        self.name = name

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Any:
        value = self.table[index][self.name]
        return value.convert("RGB") if hasattr(value, "convert") else value


def find_column(table: Dataset, name: str) -> str:
    """The name, if the table has a column of that name.

    Raises
    ------
    UnknownName
        If it has not.
    """
    if name not in table.column_names:
        raise UnknownName("column", name, table.column_names)
    return name


def choose_columns(table: Dataset, request: Request) -> Columns:
    """The columns that the request names, or those that their types and usual names point to.

    Raises
    ------
    UnknownName
        For a column that there is not.
    InvalidData
        If it cannot be told which columns are meant.
    """
    labels = _labels(table, request)
    feature = table.features[labels[0]]
    classes = tuple(feature.names) if isinstance(feature, ClassLabel) else None
    given = [kind for kind in ("text", "image", "columns") if kind in request.options]
    if len(given) > 1:
        raise InvalidData(f"{' and '.join(given)} are given; inputs are of one kind")
    if given:
        names = tuple(find_column(table, name) for name in request.options[given[0]].split(","))
        if given == ["columns"]:
            return Columns("array", names, labels, classes)
        if len(names) > 1:
            raise InvalidData(f"{given[0]}={','.join(names)}: one column is needed")
        return Columns("text" if given == ["text"] else "image", names, labels, classes)
    kind, names = _guess(table, {*labels, *(name for name, _ in request.where)})
    return Columns(kind, names, labels, classes)


def inputs_of(table: Dataset, columns: Columns, root: Path) -> Inputs:
    """The raw inputs of a table; paths of images count from `root`.

    Raises
    ------
    InvalidData
        For inputs that are missing, or not of their kind.
    """
    for name in columns.inputs:
        find_column(table, name)
    if columns.kind == "array":
        return _numbers(table, columns.inputs)
    name = columns.inputs[0]
    pieces = table.select_columns([name]).with_format("arrow").iter(10_000)
    absent = sum(piece[name].null_count for piece in pieces)
    if absent:
        raise InvalidData(f"{absent} of {len(table)} rows have no {name!r}")
    feature = table.features[name]
    if columns.kind == "image" and isinstance(feature, Image):
        return Cells(table, name)
    if not _is_string(feature):
        raise InvalidData(f"the column {name!r} holds {_type(feature)}, no {columns.kind}s")
    return Cells(table, name) if columns.kind == "text" else _pictures(table[name][:], root)


def labels_of(table: Dataset, columns: Columns) -> np.ndarray:
    """The raw labels of a table: of one column as they are, of several as numbers, shape ``(n, q)``.

    Raises
    ------
    InvalidLabels
        If one of several columns holds no numbers.
    """
    for name in columns.labels:
        find_column(table, name)
    if len(columns.labels) == 1:
        return np.asarray(table[columns.labels[0]][:])
    for name in columns.labels:
        if not _is_number(table.features[name]):
            raise InvalidLabels(
                f"the column {name!r} holds {_type(table.features[name])}; several columns of labels are a regression "
                "target, and numbers"
            )
    # What is missing becomes NaN.
    return np.stack([np.array(table[name][:], dtype=np.float64) for name in columns.labels], axis=1)


def _labels(table: Dataset, request: Request) -> tuple[str, ...]:
    if "label" in request.options:
        asked = request.options["label"]
        names = [asked] if asked in table.column_names else asked.split(",")
        return tuple(find_column(table, name) for name in names)
    named = [name for name, feature in table.features.items() if isinstance(feature, ClassLabel)]
    usual = [name for name in _LABELS if name in table.column_names]
    if not named and not usual:
        raise InvalidData(f"which column has the labels? label=COLUMN, one of {_some(table.column_names)}")
    return (next((name for name in usual if name in named), None) or (named or usual)[0],)


def _guess(table: Dataset, taken: set[str]) -> tuple[Kind, tuple[str, ...]]:
    """An image column, else a string column, else all numbers."""
    features = {name: feature for name, feature in table.features.items() if name not in taken}
    strings = [name for name, feature in features.items() if _is_string(feature)]
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    images += [name for name in _IMAGES if name in strings]
    texts = [name for name in _TEXTS if name in strings] or (strings if len(strings) == 1 else [])
    numbers = [name for name, feature in features.items() if _is_number(feature)]
    if images:
        return "image", (images[0],)
    if texts:
        return "text", (texts[0],)
    if numbers and not strings:
        return "array", tuple(numbers)
    raise InvalidData(
        f"which column has the inputs? text=COLUMN, image=COLUMN or columns=A,B,C; there are {_some(list(features))}"
    )


def _numbers(table: Dataset, names: tuple[str, ...]) -> np.ndarray:
    """Numeric columns side by side, or one column of lists, shape ``(n, d)``, float32."""
    wrong = [name for name in names if _is_string(table.features[name])]
    if wrong:
        raise InvalidData(f"the column {wrong[0]!r} holds strings, no numbers")
    frame = table.select_columns(list(names)).to_pandas()
    try:
        if len(names) == 1 and not _is_number(table.features[names[0]]):
            return np.stack([np.asarray(value, dtype=np.float32) for value in frame[names[0]]])
        return np.asarray(frame.loc[:, list(names)].to_numpy(np.float32))
    except (TypeError, ValueError) as error:
        raise InvalidData(f"the columns {', '.join(names)} are no feature vectors of one length: {error}") from error


def _pictures(values: list[str], root: Path) -> Pictures:
    paths = [root / value for value in values]
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise InvalidData(f"{len(absent)} of {len(paths)} images are not there, such as {str(absent[0])!r}")
    return Pictures(paths)


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "") or "none"


def _type(feature: Any) -> str:
    return str(feature.dtype) if isinstance(feature, Value) else type(feature).__name__


def _is_string(feature: Any) -> bool:
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string")


def _is_number(feature: Any) -> bool:
    return isinstance(feature, Value) and feature.dtype.startswith(("int", "uint", "float", "bool"))
