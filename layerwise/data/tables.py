"""Tables, from `.csv` and `.parquet` files and from the Hugging Face hub, through the `datasets` library."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
from datasets import ClassLabel, Dataset

from layerwise.data.columns import choose_columns, find_column, inputs_of, labels_of
from layerwise.data.digest import digest, digest_path, existing
from layerwise.data.names import Request, Task
from layerwise.data.source import Reading
from layerwise.errors import InvalidData, UnknownName
from layerwise.progress import others_bars

__all__ = ["read_table"]


def read_table(request: Request) -> Reading:
    """Read the columns of inputs and labels of every split that was asked for."""
    path = Path(request.path).expanduser()
    if request.scheme != "hf":
        path = existing(request.path, "file")
    with others_bars():
        tables = _load(request, path)
    tables = {split: _where(tables[split], request) for split in request.choose(tables)}
    columns = choose_columns(next(iter(tables.values())), request)
    root = path if path.is_dir() else path.parent
    splits = {split: (inputs_of(table, columns, root), labels_of(table, columns)) for split, table in tables.items()}
    content = digest_path(path) if path.exists() else _digest_hub(tables)
    chosen = digest(content, columns.kind, *columns.labels, *columns.inputs, *map(":".join, request.where))
    task: Task | None = "regression" if len(columns.labels) > 1 else None
    return Reading(columns.kind, splits, chosen, columns.classes, task)


def _load(request: Request, path: Path) -> dict[str, Dataset]:
    try:
        if request.scheme != "hf":
            found = datasets.load_dataset(request.scheme, data_files={"train": str(path)})
        elif (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            found = datasets.load_from_disk(path)
        else:
            name = str(path) if path.is_dir() else request.path
            found = datasets.load_dataset(name, request.options.get("config"))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        where = "" if path.exists() else "; there is no such folder here, and the hub did not give it"
        # The library wraps what went wrong: the innermost error is the one that says it.
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise InvalidData(f"{request.path!r} cannot be read as a table{where}: {cause}") from error
    return {"train": found} if isinstance(found, Dataset) else dict(found)


def _where(table: Dataset, request: Request) -> Dataset:
    """The rows whose columns have the values that were asked for."""
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
    """What the hub says of a data set, and the size of its tables: contents there are fixed by their version."""
    parts = []
    for split, table in tables.items():
        info = table.info
        parts += [split, str(info.builder_name), str(info.config_name), str(info.version)]
        parts += [str(sorted(info.download_checksums or ())), str(table.data.nbytes)]
    return digest(*parts)
