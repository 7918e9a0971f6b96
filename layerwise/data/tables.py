"""Tables, from `.csv` and `.parquet` files and from the Hugging Face hub: their inputs and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from layerwise.data.columns import Columns, choose_columns, find_column, inputs_of, labels_of
from layerwise.data.csv_table import read_csv
from layerwise.data.digest import digest, digest_path, existing
from layerwise.data.names import DataName, Task
from layerwise.data.source import RawData
from layerwise.data.splits import with_train
from layerwise.data.table import Table, is_string
from layerwise.errors import InvalidData, UnknownName
from layerwise.runtime.extras import from_extra
from layerwise.runtime.notes import Notes
from layerwise.runtime.progress import others_bars
from layerwise.runtime.reading_errors import innermost, reason, refusing

__all__ = ["read_table"]

# What pandas takes for a missing number, nothing at all apart.
_MISSING = frozenset(
    {"#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)


def read_table(request: DataName) -> RawData:
    """Read the columns of inputs and labels of every split that was asked for."""
    if request.scheme != "hf":
        path = existing(request.path, "file")
    else:
        with refusing(f"{request.path!r:.200} cannot be looked up", (OSError, RuntimeError)):
            path = Path(request.path).expanduser()
            path.exists()
    with others_bars():
        tables = with_train(_load(request, path))
    # Pages of a table are read when their values are taken.
    with refusing(f"{request.path!r} cannot be read as a table"):
        return _reading(request, path, tables)


def _reading(request: DataName, path: Path, tables: dict[str, Table]) -> RawData:
    tables = {split: _where(tables[split], request) for split in request.choose(tables)}
    columns = choose_columns(next(iter(tables.values())), request)
    root = path if path.is_dir() else path.parent
    notes = Notes(_words(request, tables, columns))
    splits = {
        split: (inputs_of(table, columns, request.path, root, notes), labels_of(table, columns))
        for split, table in tables.items()
    }
    content = digest_path(path) if path.exists() else digest(*_identities(tables))
    chosen = digest(content, columns.kind, *columns.labels, *columns.inputs, *map(":".join, request.where))
    task: Task | None = "regression" if len(columns.labels) > 1 else None
    return RawData(columns.kind, splits, chosen, columns.classes, task, notes)


def _load(request: DataName, path: Path) -> dict[str, Table]:
    if request.scheme == "hf" and (path / f"{path.absolute().name}.py").is_file():
        raise InvalidData(
            f"{request.path!r} is a data set whose rows are made by running {path.absolute().name}.py, and code is not "
            "run for data: write the rows to .parquet files first"
        )
    load = _loader(request.scheme)
    try:
        return load(request, path)
    except Exception as error:
        # Over a file that is broken a library may raise anything; the innermost error is the one that says it.
        where = "" if path.exists() else "; there is no such folder here, and the hub did not give it"
        said = reason(innermost(error))
        raise InvalidData(f"{request.path!r} cannot be read as a table{where}: {said}") from error


def _loader(scheme: str) -> Callable[[DataName, Path], dict[str, Table]]:
    if scheme == "csv":
        return lambda request, path: {"train": read_csv(path)}
    with from_extra("tables", f"data of the kind {scheme!r}"):
        from layerwise.data.arrow_table import load
    return load


def _words(request: DataName, tables: dict[str, Table], columns: Columns) -> list[str]:
    """A line for every column of strings that holds words for what is missing."""
    lines = []
    for name in dict.fromkeys([*columns.labels, *columns.inputs]) if request.scheme == "csv" else ():
        there = [table for table in tables.values() if name in table.names]
        if not all(is_string(table.type_of(name)) for table in there):
            continue
        words = Counter(value for table in there for value in table.values(name).tolist() if value in _MISSING)
        if words:
            found = ", ".join(f"{word!r} ({count})" for word, count in words.most_common(5))
            lines.append(f"the column {name!r} is one of strings, and these are read as such: {found}")
    return lines


def _where(table: Table, request: DataName) -> Table:
    """The rows whose columns have the values that were asked for."""
    for name, wanted in request.where:
        values = table.values(find_column(table, name))
        classes = table.classes_of(name)
        if classes is not None:
            values = np.array(classes)[values]
        words = values.astype(str)
        if wanted not in words:
            raise UnknownName(f"value of the column {name!r}", wanted, np.unique(words).tolist())
        table = table.take(np.flatnonzero(words == wanted))
    return table


def _identities(tables: dict[str, Table]) -> list[str]:
    """What is known of tables of the hub, whose contents are fixed by their version."""
    return [part for split, table in tables.items() for part in (split, *table.identity())]
