"""The values of one variable of a profile, in order."""

from __future__ import annotations

import numpy as np
import xarray as xr

from layerwise.errors import SchemaMismatch, UnknownName

__all__ = ["values_over"]


def values_over(ds: xr.Dataset, name: str, dim: str) -> xr.DataArray:
    """Return the values of a variable as floats, in ascending order along ``layer`` (by depth) or ``epoch``.

    Raises
    ------
    UnknownName
        If there is no such variable.
    SchemaMismatch
        If it does not depend on `dim`.
    """
    if name not in ds.data_vars:
        available = [str(key) for key, array in ds.data_vars.items() if dim in array.dims]
        raise UnknownName("metric", name, available, hint="It was not measured in this profile")
    array = ds[name]
    if dim not in array.dims:
        raise SchemaMismatch(f"{name!r} does not depend on {dim!r}, its dims are {array.dims}")
    array = array.astype(np.float64)
    order = "depth" if dim == "layer" else dim
    return array.sortby(order) if order in array.coords else array
