"""From Zarr groups to runs: find a run, and open it as a lazy Dataset."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from zarr.errors import ContainsArrayError, GroupNotFoundError

from layerwise.schema import validate
from layerwise.store.failures import NotReadable
from layerwise.store.layout import unpack
from layerwise.store.sealed import SealedStore

__all__ = [
    "CONTENTS",
    "LOG",
    "SCHEMA",
    "contents_of",
    "find_group",
    "is_run",
    "open_packed",
    "open_run",
    "open_unsorted",
    "read_attributes",
    "restore",
    "with_objects",
]

#: The array on ``epoch`` in every run: the attributes of an epoch's write that differ from the run's, as JSON.
LOG = "_attributes"

#: The attribute that distinguishes a run from a group that only holds runs.
SCHEMA = "layerwise_schema"

#: The attribute of a run with its contents, so that a listing need not open the run, and a missing part is noticed.
CONTENTS = "layerwise_contents"


def find_group(source: SealedStore, path: str) -> zarr.Group | None:
    """Return the Zarr group at a path; None if there is none, or the path is an array's or invalid."""
    if {".", ".."} & set(path.replace("\\", "/").split("/")):
        return None
    try:
        return zarr.open_group(source, path=path, mode="r", zarr_format=3)
    except (GroupNotFoundError, ContainsArrayError):
        # Any other error is no proof that there is none: what is written next would replace it.
        return None


def is_run(source: SealedStore, run: str) -> bool:
    """Whether there is a run of this name."""
    group = find_group(source, run)
    return group is not None and group.path == run and SCHEMA in group.attrs


def open_packed(source: SealedStore, path: str, drop: list[str] | None = None) -> xr.Dataset:
    """Open a group as it is on disk, lazily."""
    dataset: xr.Dataset = xr.open_zarr(
        source,
        group=path,
        consolidated=False,
        zarr_format=3,
        chunks=None,
        decode_timedelta=False,
        drop_variables=drop,
    )
    return dataset


def open_unsorted(source: SealedStore, run: str) -> xr.Dataset:
    """Open a run lazily, its epochs in the order of the writes.

    Raises
    ------
    NotReadable
        If the run is damaged.
    SchemaMismatch
        If the run was written by a newer layerwise.
    """
    dataset = unpack(open_packed(source, run, drop=[LOG]))
    contents = dataset.attrs.pop(CONTENTS, None)
    validate(dataset)
    if contents is not None and contents != contents_of(dataset):
        raise NotReadable(f"the run {run!r} of {source.place} cannot be read: a part of it is missing")
    return dataset


def contents_of(dataset: xr.Dataset) -> dict[str, Any]:
    """Return what a listing shows of a run."""
    return {
        "model": str(dataset.attrs.get("model", "")),
        "epochs": dataset.sizes["epoch"],
        "layers": dataset.sizes["layer"],
        "splits": [str(split) for split in dataset["split"].values],
        "metrics": sorted(map(str, dataset.data_vars)),
    }


def open_run(source: SealedStore, run: str) -> xr.Dataset:
    """Open a run lazily, its epochs ascending and its strings as they were written; raise as `open_unsorted`."""
    dataset = restore(open_unsorted(source, run))
    return dataset if dataset.indexes["epoch"].is_monotonic_increasing else dataset.sortby("epoch")


def restore(dataset: xr.Dataset) -> xr.Dataset:
    """Undo the changes of a file format to strings, attributes and the order of the variables, lazily.

    Formats return strings as Python objects, where a profile has NumPy's; and numbers in attributes as NumPy's, where a
    profile has Python's.
    """
    strings = {
        name: (coordinate.dims, coordinate.values.astype(object).astype(str), coordinate.attrs)
        for name, coordinate in dataset.coords.items()
        if coordinate.dtype.kind in "OT"
    }
    restored = dataset.assign_coords(strings)[sorted(dataset.data_vars, key=str)].drop_encoding()
    return restored.assign_attrs(
        {key: value.item() for key, value in dataset.attrs.items() if isinstance(value, np.generic)}
    )


def with_objects(dataset: xr.Dataset) -> xr.Dataset:
    """Turn strings into Python objects, which Zarr stores as strings of any length; `restore` undoes it."""
    return dataset.assign(
        {name: item.astype(object) for name, item in dataset.variables.items() if item.dtype.kind in "UT"}
    )


def read_attributes(source: SealedStore, run: str) -> pd.DataFrame:
    """Return the run's log of attributes: one row an epoch, one column an attribute that ever differed."""
    dataset = open_packed(source, run)
    first = dataset.attrs
    rows = [json.loads(str(text)) for text in dataset[LOG].values]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pd.DataFrame(
        [[row.get(name, first.get(name)) for name in names] for row in rows],
        index=pd.Index(unpack(dataset)["epoch"].values, name="epoch"),
        columns=names,
    ).sort_index()
