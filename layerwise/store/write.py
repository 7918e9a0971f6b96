"""From Datasets to Zarr groups: make a run, append to it, replace epochs of it."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
import zarr

from layerwise.errors import LayerwiseError, SchemaMismatch, is_escaped, listed, shown
from layerwise.schema import validate
from layerwise.store.layout import encodings, names_by_array, pack
from layerwise.store.listing import list_runs
from layerwise.store.read import CONTENTS, LOG, contents_of, is_run, open_packed, open_unsorted, with_objects
from layerwise.store.sealed import SealedStore

__all__ = ["EpochExists", "InvalidRun", "check_name", "check_surroundings", "delete_run", "prepare", "write_run"]

_LOG_EPOCHS = 64

# Names that start with two underscores are reserved by Zarr.
_LONGEST_PART = 200
_PART = re.compile(r"(?!__)(?!\.+$)[^/\\\x00-\x1f]+")

# A missing chunk counts as damage, so chunks of nothing but NaN are written too.
_ZARR: dict[str, Any] = {"consolidated": False, "zarr_format": 3, "write_empty_chunks": True}


class EpochExists(LayerwiseError, ValueError):
    """An epoch was written that the run already has."""


class InvalidRun(LayerwiseError, ValueError):
    """A name that no run can have."""


def check_name(run: str) -> None:
    """Raise `InvalidRun` for a name that no run can have."""
    if not isinstance(run, str):
        raise InvalidRun(f"no run can be called {shown(run)}: a name is text")
    if not all(_PART.fullmatch(part) and part.strip() for part in run.split("/")):
        raise InvalidRun(f"no run can be called {shown(run)}: use words separated by single slashes")
    if not is_escaped(run):
        raise InvalidRun(f"no run can be called {shown(run)}: a name has no characters that control or turn text")
    if any(len(part.encode()) > _LONGEST_PART for part in run.split("/")):
        raise InvalidRun(f"no run can be called {shown(run)}: a name has at most {_LONGEST_PART} bytes between slashes")


def prepare(dataset: xr.Dataset, run: str) -> xr.Dataset:
    """Check name and profile, and return the profile in the form in which it is written.

    Raises
    ------
    InvalidRun, SchemaMismatch
        If they cannot be written anywhere.
    """
    check_name(run)
    validate(dataset)
    if "epoch" not in dataset.dims or not dataset.sizes["epoch"]:
        raise SchemaMismatch("not a layerwise profile: it has no epoch")
    epochs = dataset.indexes["epoch"]
    if not epochs.is_unique:
        raise SchemaMismatch(f"not a layerwise profile: it has epoch {_some(epochs[epochs.duplicated()])} twice")
    return with_objects(dataset.compute().drop_encoding())


def write_run(target: SealedStore, run: str, dataset: xr.Dataset, *, overwrite: bool) -> None:
    """Write what `prepare` returned into a session, without committing it.

    Raises
    ------
    EpochExists, InvalidRun, SchemaMismatch
        If the Dataset cannot be written; the session must then be dropped.
    """
    if not is_run(target, run):
        check_surroundings(target, run)
        _create(target, run, dataset)
        return
    stored = open_unsorted(target, run)
    _check_fit(run, stored, dataset)
    places = {epoch: place for place, epoch in enumerate(stored["epoch"].values.tolist())}
    epochs = dataset["epoch"].values.tolist()
    existing = [index for index, epoch in enumerate(epochs) if epoch in places]
    if existing and not overwrite:
        taken = _some(epochs[index] for index in existing)
        raise EpochExists(f"the run {run!r} already has epoch {taken}; overwrite=True replaces it")
    attributes = dict(zarr.open_group(target, path=run, mode="r", zarr_format=3).attrs)
    new = [index for index, epoch in enumerate(epochs) if epoch not in places]
    if CONTENTS in attributes:
        attributes[CONTENTS] = contents_of(stored) | {"epochs": len(places) + len(new)}
    rows = _rows(stored, dataset, attributes)
    arrays = names_by_array(open_packed(target, run))
    for index in existing:
        place = places[epochs[index]]
        row = _pack(rows.isel(epoch=[index]), arrays)
        row.to_zarr(target, group=run, region={"epoch": slice(place, place + 1)}, **_ZARR)
    if new:
        _pack(rows.isel(epoch=new), arrays).to_zarr(target, group=run, append_dim="epoch", **_ZARR)


def delete_run(target: SealedStore, run: str) -> None:
    """Delete a run in a session, without committing."""
    del zarr.open_group(target, mode="r+", zarr_format=3)[run]


def check_surroundings(target: SealedStore, run: str) -> None:
    """Raise `InvalidRun` if the run would lie inside another, or around others."""
    parts = run.split("/")
    for outer in ("/".join(parts[:end]) for end in range(1, len(parts))):
        if is_run(target, outer):
            raise InvalidRun(f"no run can be called {run!r}: {outer!r} is a run itself")
    inner = list_runs(target, under=run)
    if inner:
        raise InvalidRun(f"no run can be called {run!r}: there are runs below it, such as {inner[0]!r}")


def _create(target: SealedStore, run: str, dataset: xr.Dataset) -> None:
    logged = dataset.assign({LOG: ("epoch", np.full(dataset.sizes["epoch"], "{}", dtype=object))})
    if target.seals:
        logged.attrs = {**dataset.attrs, CONTENTS: contents_of(dataset)}
        logged = _pack(logged, None)
    encoding = encodings(logged)
    encoding[LOG]["chunks"] = (_LOG_EPOCHS,)
    logged.to_zarr(target, group=run, mode="w", encoding=encoding, **_ZARR)


def _pack(dataset: xr.Dataset, arrays: dict[str, list[Hashable]] | None) -> xr.Dataset:
    """Pack all but the log; not at all where the run is not packed."""
    if arrays is not None and not arrays:
        return dataset
    return pack(dataset.drop_vars(LOG), arrays).assign({LOG: dataset[LOG].variable})


def _rows(stored: xr.Dataset, dataset: xr.Dataset, attributes: Mapping[str, Any]) -> xr.Dataset:
    """Return the rows that a later write adds: the variables on ``epoch``, and the log of its changed attributes."""
    rows = dataset.drop_vars([name for name, item in dataset.variables.items() if "epoch" not in item.dims])
    rows = rows.assign(
        {
            name: item.astype(stored[name].dtype)
            for name, item in rows.variables.items()
            if item.dtype.kind != "O" and item.dtype != stored[name].dtype
        }
    )
    given: dict[str, Any] = {str(key): json.loads(_json(value)) for key, value in dataset.attrs.items()}
    missing = {key: None for key in attributes if key not in given and key not in ("coordinates", CONTENTS)}
    changed = {key: value for key, value in given.items() if _json(value) != _json(attributes.get(key))}
    log = np.full(rows.sizes["epoch"], _json(changed | missing), dtype=object)
    rows = rows.assign({LOG: ("epoch", log)})
    # An append replaces the attributes of the group, here by the same ones.
    rows.attrs = dict(attributes)
    return rows


def _check_fit(run: str, stored: xr.Dataset, dataset: xr.Dataset) -> None:
    """Raise `SchemaMismatch`, naming all differences, unless the Dataset can continue the run."""
    problems = [
        *_missing("variables", stored.data_vars, dataset.data_vars),
        *_missing("coordinates", stored.coords, dataset.coords),
    ]
    common = sorted(set(stored.variables) & set(dataset.variables), key=str)
    labels = [name for name in common if name in stored.dims]
    resized: set[Hashable] = set()
    for name in labels + [name for name in common if name not in labels]:
        # Where the labels of a dim differ, all variables along it do too.
        if not resized & set(stored[name].dims):
            differences = list(_differences(name, stored[name].variable, dataset[name].variable))
            resized |= {name} if differences and name in labels else set()
            problems += differences
    if problems:
        raise SchemaMismatch(f"this profile does not continue the run {run!r}: " + "; ".join(problems))


def _differences(name: Hashable, stored: xr.Variable, given: xr.Variable) -> Iterator[str]:
    strings = stored.dtype.kind in "OT"
    if stored.dims != given.dims:
        yield f"{name!r} has the dims {given.dims}, the run's {stored.dims}"
    elif strings != (given.dtype.kind == "O") or (not strings and not np.can_cast(given.dtype, stored.dtype)):
        yield f"{name!r} is {given.dtype}, the run's {stored.dtype}"
    elif "epoch" not in stored.dims and not _equal(stored.values, given.values):
        labels = _missing(f"labels of {name!r}", stored.values.tolist(), given.values.tolist())
        named = list(labels) if stored.dims == (name,) else []
        yield from named or [f"the values of {name!r} differ"]


def _missing(what: str, stored: Iterable[Hashable], given: Iterable[Hashable]) -> Iterator[str]:
    stored_names, given_names = list(stored), list(given)
    new = [name for name in given_names if name not in stored_names]
    missing = [name for name in stored_names if name not in given_names]
    if new:
        yield f"{what} that the run does not have: {_some(new)}"
    if missing:
        yield f"{what} that only the run has: {_some(missing)}"


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    if first.dtype.kind == second.dtype.kind == "f":
        return np.array_equal(first, second, equal_nan=True)
    return first.shape == second.shape and bool(first.tolist() == second.tolist())


def _json(value: object) -> str:
    return json.dumps(value, default=lambda other: other.tolist() if hasattr(other, "tolist") else str(other))


def _some(names: Iterable[object]) -> str:
    return listed([str(name) for name in names], 5)
