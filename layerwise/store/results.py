"""Results: Datasets of any dims, stored whole next to the runs that they were derived from."""

from __future__ import annotations

import xarray as xr
import zarr

from layerwise.store.layout import encodings, pack, unpack
from layerwise.store.read import SCHEMA, find_group, open_packed, restore, with_objects
from layerwise.store.sealed import SealedStore

__all__ = ["is_result", "read_result", "write_result"]

# The attribute that distinguishes a result from a run, and from a group that only holds others. Its value is that of
# the attribute that would make it a run, or 0 without one.
_MARK = "layerwise_result"


def is_result(source: SealedStore, name: str) -> bool:
    """Whether there is a result of this name."""
    group = find_group(source, name)
    return group is not None and group.path == name and _MARK in group.attrs


def read_result(source: SealedStore, name: str) -> xr.Dataset:
    """Load a result."""
    loaded = restore(unpack(open_packed(source, name)).load())
    if schema := loaded.attrs.pop(_MARK):
        loaded.attrs[SCHEMA] = schema
    return loaded


def write_result(target: SealedStore, name: str, dataset: xr.Dataset) -> None:
    """Write a result in a session, in place of one of the same name, without committing."""
    if is_result(target, name):
        del zarr.open_group(target, mode="r+", zarr_format=3)[name]
    whole = with_objects(dataset.compute().drop_encoding())
    whole.attrs = {**dataset.attrs, _MARK: dataset.attrs.get(SCHEMA, 0)}
    # A Dataset derived from profiles may have inherited the attribute that makes it a run.
    whole.attrs.pop(SCHEMA, None)
    whole = pack(whole) if target.seals else whole
    whole.to_zarr(
        target,
        group=name,
        mode="w",
        encoding=encodings(whole),
        consolidated=False,
        zarr_format=3,
        write_empty_chunks=True,
    )
