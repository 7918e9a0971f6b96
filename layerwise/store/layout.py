"""The layout of a Dataset in Zarr: variables of the same dims and type share an array, so that there are few files."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
import zarr.codecs
from xarray.backends import BackendArray
from xarray.core import indexing

from layerwise.store.sealed import PACKED

__all__ = ["chunks", "encodings", "names_by_array", "pack", "unpack"]

# A chunk spans as many variables and then as many epochs as fit in so many bytes. Larger chunks make fewer reads; but
# every write rewrites one chunk of each array.
_CHUNK_BYTES = 2**17
_CHUNK_EPOCHS = 1024
_CHUNK_VARIABLES = 16

#: Names of the variables that each array holds.
Arrays = Mapping[str, list[Hashable]]


def pack(dataset: xr.Dataset, arrays: Arrays | None = None) -> xr.Dataset:
    """Stack the variables of the same dims and type into one array each.

    Parameters
    ----------
    dataset : Dataset
        In memory, its strings as objects.
    arrays : mapping, optional
        The variables of each array, for a run that is already packed; arrays of variables that the Dataset lacks are
        left out.
    """
    arrays = _group(dataset) if arrays is None else arrays
    packed = {
        name: _stack(dataset, members, axis=f"{name}_variable")
        for name, members in arrays.items()
        if set(members) <= set(dataset.variables)
    }
    return xr.Dataset(packed, attrs=dataset.attrs)


def unpack(dataset: xr.Dataset) -> xr.Dataset:
    """Return the variables that `pack` stacked, lazily; variables that are not packed stay as they are."""
    variables: dict[Hashable, xr.Variable] = {}
    coordinates = set(dataset.coords)
    for name, item in dataset.variables.items():
        packed = item.attrs.get(PACKED)
        if packed is None:
            variables[name] = item
            continue
        shared = _Shared(item)
        for index, (member, is_coordinate, attributes) in enumerate(packed):
            data = indexing.LazilyIndexedArray(_Part(shared, index))
            variables[member] = xr.Variable(item.dims[1:], data, attributes)
            coordinates |= {member} if is_coordinate else set()
    coordinate_variables = {name: item for name, item in variables.items() if name in coordinates}
    data_variables = {name: item for name, item in variables.items() if name not in coordinates}
    return xr.Dataset(data_variables, coordinate_variables, dataset.attrs)


def names_by_array(dataset: xr.Dataset) -> dict[str, list[Hashable]]:
    """Return the names of the variables in each array of a packed Dataset."""
    return {
        str(name): [member for member, *_ in item.attrs[PACKED]]
        for name, item in dataset.variables.items()
        if PACKED in item.attrs
    }


def encodings(dataset: xr.Dataset) -> dict[Hashable, dict[str, Any]]:
    """Return the encoding of every array: compressed, with a checksum at the end of each chunk."""
    codecs = (zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec())
    return {name: {"compressors": codecs, "chunks": chunks(item)} for name, item in dataset.variables.items()}


def chunks(variable: xr.Variable) -> tuple[int, ...]:
    """Return the shape of the chunks: whole dims, except along packed variables and ``epoch``."""
    first = variable.dims[0] if PACKED in variable.attrs else None
    rest = math.prod(size for dim, size in variable.sizes.items() if dim not in ("epoch", first))
    each = max(variable.dtype.itemsize * rest, 1)
    together = 1
    if first is not None:
        together = max(min(_CHUNK_BYTES // each, variable.sizes[first], _CHUNK_VARIABLES), 1)
    epochs = min(max(_CHUNK_BYTES // (each * together), 1), _CHUNK_EPOCHS)
    partial_dims = {first: together, "epoch": epochs}
    return tuple(partial_dims.get(dim, max(size, 1)) for dim, size in variable.sizes.items())


def _group(dataset: xr.Dataset) -> dict[str, list[Hashable]]:
    kinds: dict[tuple[Any, ...], list[Hashable]] = {}
    for name in sorted(dataset.variables, key=str):
        item = dataset.variables[name]
        kinds.setdefault((item.dims, str(item.dtype)), []).append(name)
    return {f"array{number}": names for number, names in enumerate(kinds.values())}


def _stack(dataset: xr.Dataset, names: Iterable[Hashable], axis: str) -> xr.Variable:
    items = {name: dataset.variables[name] for name in names}
    first = next(iter(items.values()))
    packed = [
        [name, name in dataset.coords, {key: _json_value(value) for key, value in item.attrs.items()}]
        for name, item in items.items()
    ]
    return xr.Variable((axis, *first.dims), np.stack([item.values for item in items.values()]), {PACKED: packed})


def _json_value(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


class _Shared:
    """An array of several variables, side by side in its chunks; it caches the chunk that was read last."""

    def __init__(self, stacked: xr.Variable) -> None:
        self.stacked = stacked
        self._last: tuple[Any, np.ndarray] | None = None
        self._step = (stacked.encoding.get("chunks") or (1,))[0]

    def read(self, index: int, key: tuple[Any, ...]) -> np.ndarray:
        start = index - index % self._step
        request = (start, key)
        last = self._last
        if last is None or last[0] != request:
            last = request, self.stacked[(slice(start, start + self._step), *key)].values
            self._last = last
        return np.asarray(last[1][index - start])


class _Part(BackendArray):
    """One variable of an array of several."""

    def __init__(self, shared: _Shared, index: int) -> None:
        self._shared = shared
        self._index = index
        self.shape = shared.stacked.shape[1:]
        self.dtype = shared.stacked.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        return self._shared.read(self._index, key)
