"""From Zarr groups to runs: which there are, and one as a lazy Dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator

import icechunk
import numpy as np
import pandas as pd
import xarray as xr
import zarr

from layerwise.schema import validate

__all__ = [
    "LOG",
    "SCHEMA",
    "find_group",
    "is_run",
    "list_runs",
    "open_run",
    "open_unsorted",
    "read_attributes",
    "restore",
    "with_objects",
]

#: Array on ``epoch`` in every run: the attributes of an epoch's write that differ from the run's, as JSON.
LOG = "_attributes"

#: The attribute that tells a run from a group that only holds runs.
SCHEMA = "layerwise_schema"


def find_group(source: icechunk.IcechunkStore, path: str) -> zarr.Group | None:
    """The Zarr group at a path, or None; also for an array's path, and for what no path can be."""
    try:
        return zarr.open_group(source, path=path, mode="r", zarr_format=3)
    except ValueError:
        return None


def is_run(source: icechunk.IcechunkStore, run: str) -> bool:
    """Whether there is a run of this name."""
    group = find_group(source, run)
    return group is not None and group.path == run and SCHEMA in group.attrs


def list_runs(source: icechunk.IcechunkStore, under: str = "") -> list[str]:
    """The names of the runs below a path, sorted."""
    group = find_group(source, under)
    return sorted(_descend(group)) if group is not None else []


def _descend(group: zarr.Group) -> Iterator[str]:
    for _, child in group.groups():
        if SCHEMA in child.attrs:
            yield child.path
        else:
            yield from _descend(child)


def open_unsorted(source: icechunk.IcechunkStore, run: str) -> xr.Dataset:
    """A run as it is on disk, lazily: its epochs in the order of the writes.

    Raises
    ------
    SchemaMismatch
        If it was written by a newer layerwise.
    """
    dataset: xr.Dataset = xr.open_zarr(
        source,
        group=run,
        consolidated=False,
        zarr_format=3,
        chunks=None,
        decode_timedelta=False,
        drop_variables=[LOG],
    )
    validate(dataset)
    return dataset


def open_run(source: icechunk.IcechunkStore, run: str) -> xr.Dataset:
    """A run as a lazy Dataset, its epochs ascending and its strings as they were given; raises as `open_unsorted`."""
    dataset = restore(open_unsorted(source, run))
    return dataset if dataset.indexes["epoch"].is_monotonic_increasing else dataset.sortby("epoch")


def restore(dataset: xr.Dataset) -> xr.Dataset:
    """Undo what a file format did to strings, attributes and the order of the variables; what is lazy stays so.

    Formats give strings back as Python objects, where a profile has NumPy's; and numbers in attributes as
    NumPy's, where a profile has Python's.
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
    """The Dataset with strings as Python objects, which Zarr stores as strings of any length; undone by `restore`."""
    return dataset.assign(
        {name: item.astype(object) for name, item in dataset.variables.items() if item.dtype.kind in "UT"}
    )


def read_attributes(source: icechunk.IcechunkStore, run: str) -> pd.DataFrame:
    """The run's log of attributes: one row an epoch, one column an attribute that ever differed."""
    group = zarr.open_group(source, path=run, mode="r", zarr_format=3)
    first = dict(group.attrs)
    rows = [json.loads(str(text)) for text in np.asarray(group[LOG])]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pd.DataFrame(
        [[row.get(name, first.get(name)) for name in names] for row in rows],
        index=pd.Index(np.asarray(group["epoch"]), name="epoch"),
        columns=names,
    ).sort_index()
