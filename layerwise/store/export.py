"""Profiles as plain files, for other programs: Zarr, NetCDF, and tidy tables as Parquet or CSV."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from layerwise.arguments import FLAG, PATH, checked
from layerwise.errors import NotAStore, UnknownName
from layerwise.runtime.extras import from_extra
from layerwise.runtime.temporary_folders import Scratch
from layerwise.schema import ARGUMENTS, validate
from layerwise.store.failures import NotWritable, reason
from layerwise.store.read import restore, with_objects

__all__ = ["export", "import_profile", "tidy"]


@checked(ARGUMENTS, path=PATH, overwrite=FLAG)
def export(dataset: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a profile to a file, in the format that its suffix names.

    Parameters
    ----------
    dataset : Dataset
        A profile.
    path : str or path
        Ends in ``.zarr`` or ``.nc``, which keep everything and can be read by `import_profile`, or in
        ``.parquet`` or ``.csv``, which keep the table that `tidy` makes.
    overwrite : bool
        Whether to replace a file or folder of this name.

    Raises
    ------
    UnknownName
        If the suffix is none of these.
    NotWritable
        If the path exists and `overwrite` is false, or the disk is full or read-only.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix)
    if write is None:
        raise UnknownName("format", path.suffix, _WRITERS)
    validate(dataset)
    if path.exists() and not overwrite:
        raise NotWritable(f"{path} already exists; overwrite=True replaces it")
    loaded = dataset.compute().drop_encoding()
    try:
        with Scratch(path.parent, f".{path.name}.") as folder:
            draft = folder / path.name
            write(loaded, draft)
            if path.is_dir():
                path.rename(folder / "replaced")
            draft.replace(path)
    except OSError as error:
        raise NotWritable(f"{path} cannot be written: {reason(error)}") from error


@checked(path=PATH)
def import_profile(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a profile from a Zarr or NetCDF file that `export`, or another program, wrote.

    Raises
    ------
    UnknownName
        If the suffix is neither ``.zarr`` nor ``.nc``.
    NotAStore
        If there is no such file, or it has another format.
    SchemaMismatch
        If its content is not a profile.
    """
    path = Path(path)
    options = _READERS.get(path.suffix)
    if options is None:
        raise UnknownName("format to import", path.suffix, _READERS)
    if not path.exists():
        raise NotAStore(f"there is no file {path}")
    if path.suffix == ".nc":
        with from_extra("netcdf", "a .nc file"):
            import h5netcdf  # noqa: F401
    try:
        with xr.open_dataset(path, decode_timedelta=False, **options) as dataset:
            dataset.load()
    except (OSError, ValueError) as error:
        raise NotAStore(f"{path} cannot be read as {path.suffix}: {reason(error)}") from error
    validate(dataset)
    return restore(dataset)


@checked(ARGUMENTS)
def tidy(dataset: xr.Dataset) -> pd.DataFrame:
    """Return a profile as a table: one row for every combination of coordinates, one column a metric.

    Variables that depend on fewer dims are repeated. Variables without the dim ``class`` are not repeated for every
    class: they have rows of their own, in which ``class`` is missing.

    Returns
    -------
    DataFrame
        First the dims, then the other coordinates, then the metrics.
    """
    per_class = [name for name, variable in dataset.data_vars.items() if "class" in variable.dims]
    whole = [name for name in dataset.data_vars if name not in per_class]
    tables = [
        dataset[names].to_dataframe(dim_order=[dim for dim in dataset.dims if dim in dataset[names].dims]).reset_index()
        for names in (whole, per_class)
        if names
    ]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    order = [*dataset.dims, *(name for name in dataset.coords if name not in dataset.dims), *dataset.data_vars]
    return table[[name for name in order if name in table]]


def _write_zarr(dataset: xr.Dataset, path: Path) -> None:
    # In memory first: on a full disk Zarr's threads continue to make files after the error.
    content: dict[str, Buffer] = {}
    with_objects(dataset).to_zarr(MemoryStore(content), mode="w-", consolidated=False, zarr_format=3)
    for key, value in content.items():
        file = path / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(value.to_bytes())


def _write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    # In memory first: where the disk is full, HDF5 ends the whole process.
    with from_extra("netcdf", "a .nc file"):
        import h5netcdf

    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        dataset.dump_to_store(xr.backends.H5NetCDFStore(file))
    path.write_bytes(content.getbuffer())


def _write_parquet(dataset: xr.Dataset, path: Path) -> None:
    with from_extra("tables", "a .parquet file"):
        import pyarrow  # noqa: F401
    tidy(dataset).to_parquet(path, index=False)


def _write_csv(dataset: xr.Dataset, path: Path) -> None:
    tidy(dataset).to_csv(path, index=False)


_WRITERS: dict[str, Callable[[xr.Dataset, Path], None]] = {
    ".zarr": _write_zarr,
    ".nc": _write_netcdf,
    ".parquet": _write_parquet,
    ".csv": _write_csv,
}
_READERS: dict[str, dict[str, Any]] = {
    ".zarr": {"engine": "zarr", "consolidated": False},
    ".nc": {"engine": "h5netcdf"},
}
