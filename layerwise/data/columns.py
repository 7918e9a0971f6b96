"""The choice of a table's columns for inputs and labels, and the inputs and labels of these columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Image, Value

from layerwise.data.images import Pictures
from layerwise.data.names import DataName
from layerwise.data.source import Inputs, Kind
from layerwise.errors import InvalidData, InvalidLabels, UnknownName, listed
from layerwise.runtime.notes import Notes
from layerwise.runtime.pixels import colour_picture, decoding
from layerwise.runtime.reading_errors import refusing

__all__ = ["Columns", "choose_columns", "find_column", "inputs_of", "labels_of"]

_LABELS = ("label", "labels", "target", "class", "y")
_TEXTS = ("text", "sentence", "content")
_IDS = "input_ids"
_IMAGES = ("image", "img", "file_name")


@dataclass(frozen=True)
class Columns:
    """The columns of inputs and labels of a table.

    Attributes
    ----------
    kind : {"image", "text", "array"}
        The kind of inputs.
    inputs, labels : tuple of str
        Names of columns; several columns of labels are a regression target.
    classes : tuple of str or None
        The names of the classes, if the table has them.
    """

    kind: Kind
    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...] | None


class Cells:
    """Inputs from one column of a table, read on access; images are decoded to RGB, 8 bits a channel."""

    def __init__(self, table: Dataset, name: str, source: str, notes: Notes) -> None:
        self.table = table.select_columns([name])
        self.name = name
        self.source = source
        self.notes = notes
        self.pictures = isinstance(table.features[name], Image)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Any:
        if not self.pictures:
            with refusing(f"row {index} of the column {self.name!r} of {self.source!r} cannot be read"):
                return self.table[index][self.name]
        name = f"the image in row {index} of the column {self.name!r} of {self.source!r}"
        with decoding(name):
            return colour_picture(self.table[index][self.name], name, self.notes.add)


class Pairs:
    """Inputs from two columns of texts, as tuples of two."""

    def __init__(self, table: Dataset, names: tuple[str, str], source: str) -> None:
        self.table = table.select_columns(list(names))
        self.names = names
        self.source = source

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[str, str]:
        with refusing(f"row {index} of the columns {', '.join(self.names)} of {self.source!r} cannot be read"):
            row = self.table[index]
        return row[self.names[0]], row[self.names[1]]


def find_column(table: Dataset, name: str) -> str:
    """Return the name, if the table has a column of that name.

    Raises
    ------
    UnknownName
        If the table has no such column.
    """
    if name not in table.column_names:
        raise UnknownName("column", name, table.column_names)
    return name


def choose_columns(table: Dataset, request: DataName) -> Columns:
    """Return the columns that a request names; without names, choose columns by their types and usual names.

    Raises
    ------
    UnknownName
        If the table has no column of a name.
    InvalidData
        If types and usual names leave the choice open.
    """
    labels = _labels(table, request)
    feature = table.features[labels[0]]
    classes = tuple(feature.names) if isinstance(feature, ClassLabel) else None
    given = [kind for kind in ("text", "image", "columns") if kind in request.options]
    if len(given) > 1:
        raise InvalidData(f"{' and '.join(given)} are given; inputs are of one kind")
    if given:
        names = _named(table, request.options[given[0]])
        if given == ["columns"]:
            return Columns("array", names, labels, classes)
        if len(names) > (2 if given == ["text"] else 1):
            most = "one column, or a pair of two, is" if given == ["text"] else "one column is"
            raise InvalidData(f"{given[0]}={','.join(names)}: {most} needed")
        return Columns("text" if given == ["text"] else "image", names, labels, classes)
    kind, names = _guess(table, {*labels, *(name for name, _ in request.where)})
    return Columns(kind, names, labels, classes)


def inputs_of(table: Dataset, columns: Columns, source: str, root: Path, notes: Notes) -> Inputs:
    """Return the raw inputs of a table.

    Parameters
    ----------
    table : Dataset
    columns : Columns
    source : str
        Name of the table in messages.
    root : Path
        The folder that paths of images are relative to.
    notes : Notes
        Gets a note where the decoding of images loses something.

    Raises
    ------
    InvalidData
        If inputs are missing, or not of their kind.
    """
    for name in columns.inputs:
        find_column(table, name)
    if columns.kind == "array":
        return _numbers(table, columns.inputs)
    for name in columns.inputs:
        pieces = table.select_columns([name]).with_format("arrow").iter(10_000)
        missing = sum(piece[name].null_count for piece in pieces)
        if missing:
            raise InvalidData(f"{missing} of {len(table)} rows have no {name!r}")
        feature = table.features[name]
        if not _is_string(feature) and not (columns.kind == "image" and isinstance(feature, Image)):
            raise InvalidData(f"the column {name!r} holds {_type(feature)}, no {columns.kind}s")
    name = columns.inputs[0]
    if columns.kind == "image" and not isinstance(table.features[name], Image):
        return _pictures(table[name][:], root, notes)
    if len(columns.inputs) == 2:
        return Pairs(table, (name, columns.inputs[1]), source)
    return Cells(table, name, source, notes)


def labels_of(table: Dataset, columns: Columns) -> np.ndarray:
    """Return the raw labels of a table: one column unchanged, several columns as numbers of shape ``(n, q)``.

    Raises
    ------
    InvalidLabels
        If one of several columns does not hold numbers.
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
    # Missing values become NaN.
    return np.stack([np.array(table[name][:], dtype=np.float64) for name in columns.labels], axis=1)


def _labels(table: Dataset, request: DataName) -> tuple[str, ...]:
    if "label" in request.options:
        return _named(table, request.options["label"])
    named = [name for name, feature in table.features.items() if isinstance(feature, ClassLabel)]
    usual = [name for name in _LABELS if name in table.column_names]
    if not named and not usual:
        raise InvalidData(f"which column has the labels? label=COLUMN, one of {listed(table.column_names) or 'none'}")
    return (next((name for name in usual if name in named), None) or (named or usual)[0],)


def _named(table: Dataset, asked: str) -> tuple[str, ...]:
    """Return the columns of a list with commas; the name of a column may itself have a comma."""
    names = [asked] if asked in table.column_names else asked.split(",")
    return tuple(find_column(table, name) for name in names)


def _guess(table: Dataset, taken: set[str]) -> tuple[Kind, tuple[str, ...]]:
    """Choose token ids, else a column of images, else one of strings, else all columns of numbers."""
    features = {name: feature for name, feature in table.features.items() if name not in taken}
    strings = [name for name, feature in features.items() if _is_string(feature)]
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    images += [name for name in _IMAGES if name in strings]
    texts = [name for name in _TEXTS if name in strings] or (strings if len(strings) == 1 else [])
    numbers = [name for name, feature in features.items() if _is_number(feature)]
    if _IDS in features and not _is_string(features[_IDS]):
        return "array", (_IDS,)
    if images:
        return "image", (images[0],)
    if texts:
        return "text", (texts[0],)
    if numbers and not strings:
        return "array", tuple(numbers)
    raise InvalidData(
        "which column has the inputs? text=COLUMN, text=A,B for pairs, image=COLUMN or columns=A,B,C; there are "
        + (listed(list(features)) or "none")
    )


def _numbers(table: Dataset, names: tuple[str, ...]) -> Inputs:
    """Return numeric columns, or one column of lists, with shape ``(n, d)``: int64 if all are whole, else float32.

    Lists of whole numbers may differ in length, as lists of token ids do.
    """
    wrong = [name for name in names if _is_string(table.features[name])]
    if wrong:
        raise InvalidData(f"the column {wrong[0]!r} holds strings, no numbers")
    frame = table.select_columns(list(names)).to_pandas()
    try:
        if len(names) == 1 and not _is_number(table.features[names[0]]):
            return _lists([np.asarray(value) for value in frame[names[0]]])
        whole = all(dtype.kind in "iu" for dtype in frame.dtypes)
        return np.asarray(frame.loc[:, list(names)].to_numpy(np.int64 if whole else np.float32))
    except (TypeError, ValueError) as error:
        raise InvalidData(f"the columns {', '.join(names)} are no feature vectors of one length: {error}") from error


def _lists(rows: list[np.ndarray]) -> Inputs:
    whole = all(row.dtype.kind in "iu" for row in rows)
    if whole and len({row.shape for row in rows}) > 1:
        return [row.astype(np.int64) for row in rows]
    return np.stack(rows).astype(np.int64 if whole else np.float32)


def _pictures(values: list[str], root: Path, notes: Notes) -> Pictures:
    paths = [root / value for value in values]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InvalidData(f"{len(missing)} of {len(paths)} images are not there, such as {str(missing[0])!r}")
    return Pictures(paths, notes)


def _type(feature: Any) -> str:
    return str(feature.dtype) if isinstance(feature, Value) else type(feature).__name__


def _is_string(feature: Any) -> bool:
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string")


def _is_number(feature: Any) -> bool:
    return isinstance(feature, Value) and feature.dtype.startswith(("int", "uint", "float", "bool"))
