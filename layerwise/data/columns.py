"""Which columns of a table are the inputs and the labels, and how inputs are taken from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerwise.data.images import Pictures
from layerwise.data.names import DataName
from layerwise.data.source import Inputs, Kind
from layerwise.data.table import Table, is_number, is_string
from layerwise.errors import InvalidData, InvalidLabels, UnknownName, listed
from layerwise.runtime.notes import Notes
from layerwise.runtime.pixels import colour_picture, decoding
from layerwise.runtime.reading_errors import refusing

__all__ = ["Columns", "choose_columns", "find_column", "inputs_of", "labels_of"]

_LABELS = ("label", "labels", "target", "class", "y")
_TEXTS = ("text", "sentence", "content")
_IDS = "input_ids"
_IMAGE = "Image"
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
    """One column of a table, read when asked for; images are decoded to RGB, 8 bits a channel."""

    def __init__(self, table: Table, name: str, source: str, notes: Notes) -> None:
        self.table = table.pick([name])
        self.name = name
        self.source = source
        self.notes = notes
        self.pictures = table.type_of(name) == _IMAGE

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Any:
        if not self.pictures:
            with refusing(f"row {index} of the column {self.name!r} of {self.source!r} cannot be read"):
                return self.table.row(index)[0]
        name = f"the image in row {index} of the column {self.name!r} of {self.source!r}"
        with decoding(name):
            return colour_picture(self.table.row(index)[0], name, self.notes.add)


class Pairs:
    """Two columns of texts; an input is a tuple of both."""

    def __init__(self, table: Table, names: tuple[str, str], source: str) -> None:
        self.table = table.pick(names)
        self.names = names
        self.source = source

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[str, str]:
        with refusing(f"row {index} of the columns {', '.join(self.names)} of {self.source!r} cannot be read"):
            first, second = self.table.row(index)
        return first, second


def find_column(table: Table, name: str) -> str:
    """The name, if the table has a column of that name.

    Raises
    ------
    UnknownName
        If it has not.
    """
    if name not in table.names:
        raise UnknownName("column", name, table.names)
    return name


def choose_columns(table: Table, request: DataName) -> Columns:
    """The columns that the request names, or those that their types and usual names point to.

    Raises
    ------
    UnknownName
        For a column that there is not.
    InvalidData
        If it cannot be told which columns are meant.
    """
    labels = _labels(table, request)
    classes = table.classes_of(labels[0])
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


def inputs_of(table: Table, columns: Columns, source: str, root: Path, notes: Notes) -> Inputs:
    """The raw inputs of a table; paths of images count from `root`, and what is lost of them goes to `notes`.

    In messages the table is called `source`.

    Raises
    ------
    InvalidData
        For inputs that are missing, or not of their kind.
    """
    for name in columns.inputs:
        find_column(table, name)
    if columns.kind == "array":
        return _numbers(table, columns.inputs)
    for name in columns.inputs:
        absent = table.missing(name)
        if absent:
            raise InvalidData(f"{absent} of {len(table)} rows have no {name!r}")
        kind = table.type_of(name)
        if not is_string(kind) and not (columns.kind == "image" and kind == _IMAGE):
            raise InvalidData(f"the column {name!r} holds {kind}, no {columns.kind}s")
    name = columns.inputs[0]
    if columns.kind == "image" and table.type_of(name) != _IMAGE:
        return _pictures(table.values(name).tolist(), root, notes)
    if len(columns.inputs) == 2:
        return Pairs(table, (name, columns.inputs[1]), source)
    return Cells(table, name, source, notes)


def labels_of(table: Table, columns: Columns) -> np.ndarray:
    """The raw labels of a table: of one column as they are, of several as numbers, shape ``(n, q)``.

    Raises
    ------
    InvalidLabels
        If one of several columns holds no numbers.
    """
    for name in columns.labels:
        find_column(table, name)
    if len(columns.labels) == 1:
        return table.values(columns.labels[0])
    for name in columns.labels:
        if not is_number(table.type_of(name)):
            raise InvalidLabels(
                f"the column {name!r} holds {table.type_of(name)}; several columns of labels are a regression "
                "target, and numbers"
            )
    # What is missing becomes NaN.
    return np.stack([table.values(name).astype(np.float64) for name in columns.labels], axis=1)


def _labels(table: Table, request: DataName) -> tuple[str, ...]:
    if "label" in request.options:
        return _named(table, request.options["label"])
    named = [name for name in table.names if table.classes_of(name) is not None]
    usual = [name for name in _LABELS if name in table.names]
    if not named and not usual:
        raise InvalidData(f"which column has the labels? label=COLUMN, one of {listed(table.names) or 'none'}")
    return (next((name for name in usual if name in named), None) or (named or usual)[0],)


def _named(table: Table, asked: str) -> tuple[str, ...]:
    """The columns that are listed by commas; a column whose name has a comma is one column."""
    names = [asked] if asked in table.names else asked.split(",")
    return tuple(find_column(table, name) for name in names)


def _guess(table: Table, taken: set[str]) -> tuple[Kind, tuple[str, ...]]:
    """Token ids, else an image column, else a string column, else all numbers."""
    kinds = {name: table.type_of(name) for name in table.names if name not in taken}
    strings = [name for name, kind in kinds.items() if is_string(kind)]
    images = [name for name, kind in kinds.items() if kind == _IMAGE]
    images += [name for name in _IMAGES if name in strings]
    texts = [name for name in _TEXTS if name in strings] or (strings if len(strings) == 1 else [])
    numbers = [name for name, kind in kinds.items() if is_number(kind)]
    if _IDS in kinds and not is_string(kinds[_IDS]):
        return "array", (_IDS,)
    if images:
        return "image", (images[0],)
    if texts:
        return "text", (texts[0],)
    if numbers and not strings:
        return "array", tuple(numbers)
    raise InvalidData(
        "which column has the inputs? text=COLUMN, text=A,B for pairs, image=COLUMN or columns=A,B,C; there are "
        + (listed(list(kinds)) or "none")
    )


def _numbers(table: Table, names: tuple[str, ...]) -> Inputs:
    """Numeric columns side by side, or one column of lists, shape ``(n, d)``: int64 if all are whole, else float32.

    Lists of whole numbers may differ in length, as those of token ids do.
    """
    wrong = [name for name in names if is_string(table.type_of(name))]
    if wrong:
        raise InvalidData(f"the column {wrong[0]!r} holds strings, no numbers")
    frame = table.frame(names)
    try:
        if len(names) == 1 and not is_number(table.type_of(names[0])):
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
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise InvalidData(f"{len(absent)} of {len(paths)} images are not there, such as {str(absent[0])!r}")
    return Pictures(paths, notes)
