"""Tables, from `.csv` and `.parquet` files and from the Hugging Face hub, through the `datasets` library."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import datasets
import numpy as np
from datasets import ClassLabel, Dataset

from layerwise.data.columns import Columns, choose_columns, find_column, inputs_of, labels_of
from layerwise.data.digest import digest, digest_path, existing
from layerwise.data.names import DataName, Task
from layerwise.data.source import RawData
from layerwise.data.splits import with_train
from layerwise.errors import InvalidData, UnknownName
from layerwise.runtime.notes import Notes
from layerwise.runtime.progress import others_bars
from layerwise.runtime.reading_errors import innermost, reason, refusing

__all__ = ["read_table"]

# Words that pandas reads as a missing number.
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


def _reading(request: DataName, path: Path, tables: dict[str, Dataset]) -> RawData:
    """Return the inputs and labels of the rows and splits that a request names."""
    tables = {split: _where(tables[split], request) for split in request.choose(tables)}
    columns = choose_columns(next(iter(tables.values())), request)
    root = path if path.is_dir() else path.parent
    notes = Notes(_notes_on_missing_words(request, tables, columns))
    splits = {
        split: (inputs_of(table, columns, request.path, root, notes), labels_of(table, columns))
        for split, table in tables.items()
    }
    content = digest_path(path) if path.exists() else _digest_hub(tables)
    chosen = digest(content, columns.kind, *columns.labels, *columns.inputs, *map(":".join, request.where))
    task: Task | None = "regression" if len(columns.labels) > 1 else None
    return RawData(columns.kind, splits, chosen, columns.classes, task, notes)


def _load(request: DataName, path: Path) -> dict[str, Dataset]:
    if request.scheme == "hf" and (path / f"{path.absolute().name}.py").is_file():
        raise InvalidData(
            f"{request.path!r} is a data set whose rows are made by running {path.absolute().name}.py, and code is not "
            "run for data: write the rows to .parquet files first"
        )
    try:
        if request.scheme == "csv":
            loaded = _read_csv(path)
        elif request.scheme == "parquet":
            loaded = datasets.load_dataset("parquet", data_files={"train": str(path)})
        elif (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            loaded = _validated(datasets.load_from_disk(path))
        else:
            name = str(path) if path.is_dir() else request.path
            # Releases before 4 ask on the terminal whether to run a script.
            loaded = datasets.load_dataset(name, request.options.get("config"), trust_remote_code=False)
    except Exception as error:
        # On a broken file, the library may raise any error; the innermost one has the cause.
        where = "" if path.exists() else "; there is no such folder here, and the hub did not give it"
        cause = reason(innermost(error))
        raise InvalidData(f"{request.path!r} cannot be read as a table{where}: {cause}") from error
    return {"train": loaded} if isinstance(loaded, Dataset) else dict(loaded)


def _validated(loaded: Dataset | datasets.DatasetDict) -> Dataset | datasets.DatasetDict:
    """Check the offsets of mapped tables: access beyond the end of a file would end the process."""
    for table in [loaded] if isinstance(loaded, Dataset) else loaded.values():
        table.data.validate(full=True)
    return loaded


def _read_csv(path: Path) -> dict[str, Dataset]:
    """Read the table of a csv file; in a column of strings every entry is a string, "NA" and "null" too."""
    files = {"train": str(path)}
    table = datasets.load_dataset("csv", data_files=files)["train"]
    dtypes = {name: str(getattr(feature, "dtype", "")) for name, feature in table.features.items()}
    strings = [name for name, dtype in dtypes.items() if dtype in ("string", "large_string", "null")]
    gaps = [name for name in strings if any(part.null_count for part in table.data.column(name).chunks)]
    if gaps:
        # Columns of numbers need these words for missing values, so the file is read twice; empty cells are missing
        # in both readings.
        literal = datasets.load_dataset("csv", data_files=files, keep_default_na=False, na_values=[""])["train"]
        order = table.column_names
        table = datasets.concatenate_datasets([table.remove_columns(gaps), literal.select_columns(gaps)], axis=1)
        table = table.select_columns(order)
    return {"train": table}


def _notes_on_missing_words(request: DataName, tables: dict[str, Dataset], columns: Columns) -> list[str]:
    """Return a line for every column of strings with words that usually mean a missing number."""
    lines = []
    for name in dict.fromkeys([*columns.labels, *columns.inputs]) if request.scheme == "csv" else ():
        features = [table.features[name] for table in tables.values() if name in table.column_names]
        if not all(getattr(feature, "dtype", "") in ("string", "large_string") for feature in features):
            continue
        values = [value for table in tables.values() for value in table[name][:]]
        words = Counter(value for value in values if value in _MISSING)
        if words:
            counts = ", ".join(f"{word!r} ({count})" for word, count in words.most_common(5))
            lines.append(f"the column {name!r} is one of strings, and these are read as such: {counts}")
    return lines


def _where(table: Dataset, request: DataName) -> Dataset:
    """Return the rows whose columns have the values that were asked for."""
    for name, wanted in request.where:
        values = _values(table, find_column(table, name))
        feature = table.features[name]
        if isinstance(feature, ClassLabel):
            values = np.array(feature.names)[values]
        words = values.astype(str)
        if wanted not in words:
            raise UnknownName(f"value of the column {name!r}", wanted, np.unique(words).tolist())
        table = table.select(np.flatnonzero(words == wanted))
    return table


def _values(table: Dataset, name: str) -> np.ndarray:
    return np.asarray(table[name][:])


def _digest_hub(tables: dict[str, Dataset]) -> str:
    """Return a digest of the hub's information on a data set, and of the sizes of its tables.

    On the hub, a version determines the contents.
    """
    parts = []
    for split, table in tables.items():
        info = table.info
        parts += [split, str(info.builder_name), str(info.config_name), str(info.version)]
        parts += [str(sorted(info.download_checksums or ())), str(table.data.nbytes)]
    return digest(*parts)
