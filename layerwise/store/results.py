"""Results: Datasets of any dims, kept whole beside the runs that they were made of."""

from __future__ import annotations

import icechunk
import xarray as xr
import zarr

from layerwise.store.read import find_group, restore, with_objects

__all__ = ["is_result", "read_result", "write_result"]

# The attribute that tells a result from a run, and from a group that only holds others.
_MARK = "layerwise_result"


def is_result(source: icechunk.IcechunkStore, name: str) -> bool:
    """Whether there is a result of this name."""
    group = find_group(source, name)
    return group is not None and group.path == name and _MARK in group.attrs


def read_result(source: icechunk.IcechunkStore, name: str) -> xr.Dataset:
    """A result, loaded."""
    dataset = xr.open_zarr(source, group=name, consolidated=False, zarr_format=3, chunks=None, decode_timedelta=False)
    loaded = restore(dataset.load())
    del loaded.attrs[_MARK]
    return loaded


def write_result(target: icechunk.IcechunkStore, name: str, dataset: xr.Dataset) -> None:
    """Write a result in a session, in place of the one that was there, without committing."""
    if is_result(target, name):
        del zarr.open_group(target, mode="r+", zarr_format=3)[name]
    whole = with_objects(dataset.compute().drop_encoding()).assign_attrs({**dataset.attrs, _MARK: 1})
    whole.to_zarr(target, group=name, mode="w", consolidated=False, zarr_format=3)
