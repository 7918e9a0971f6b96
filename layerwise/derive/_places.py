"""Two profiles brought to the same layers or depths, and to the same labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from layerwise.errors import InvalidData, listed

__all__ = ["at_depths", "at_labels", "at_layers", "shortened"]


def at_layers(a: xr.Dataset, b: xr.Dataset, pairs: Sequence[tuple[str, str]]) -> tuple[xr.Dataset, xr.Dataset]:
    """Select the paired layers of both in one order, under their names in the first profile."""
    names, others = [name for name, _ in pairs], [other for _, other in pairs]
    a = a.sel(layer=names).assign_coords(other_layer=("layer", others))
    b = b.sel(layer=others)
    if "reduction" in b.coords:
        a = a.assign_coords(other_reduction=("layer", b["reduction"].values))
    b = b.drop_vars([name for name in b.coords if "layer" in b[name].dims])
    return a, b.assign_coords(layer=a["layer"])


def at_depths(ds: xr.Dataset, grid: np.ndarray) -> xr.Dataset:
    """Interpolate the variables linearly to a grid of depths, whose places have empty coordinates."""
    ds = ds.sortby("depth")
    depth = ds["depth"].values

    def interpolated(values: np.ndarray) -> np.ndarray:
        at_grid: np.ndarray = np.interp(grid, depth, values)
        return at_grid

    variables = {}
    for name, array in ds.drop_vars([name for name in ds.coords if "layer" in ds[name].dims]).data_vars.items():
        variables[name] = array
        if "layer" in array.dims:
            at_grid = xr.apply_ufunc(
                interpolated,
                array.astype(np.float64),
                input_core_dims=[["layer"]],
                output_core_dims=[["layer"]],
                exclude_dims={"layer"},
                vectorize=True,
                keep_attrs=True,
            )
            variables[name] = at_grid.transpose(*array.dims)
    empty = {name: ("layer", [""] * len(grid)) for name in ("kind", "shape", "reduction")}
    numbers = {name: ("layer", [0] * len(grid)) for name in ("features", "parameters")}
    places = {"layer": ("layer", [f"depth {place:.3f}" for place in grid]), "depth": ("layer", grid)}
    return xr.Dataset(variables).assign_coords(empty | numbers | places)


def at_labels(a: xr.Dataset, b: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Select, in every dim, the labels that both profiles have.

    Raises
    ------
    InvalidData
        If they share no label of a dim.
    """
    if a.sizes.get("epoch") == b.sizes.get("epoch") == 1:
        a = a.assign_coords(epoch=b["epoch"].values)
    first, second = xr.align(a, b, join="inner")
    for dim, size in first.sizes.items():
        if not size and dim in b.dims:
            hint = "; take one of each, ds.isel(epoch=[-1])" if dim == "epoch" else ""
            raise InvalidData(
                f"the profiles have no {dim} in common: {shortened(a[dim].values)}; {shortened(b[dim].values)}{hint}"
            )
    return first, second


def shortened(names: Iterable[object], most: int = 6) -> str:
    """Return a list of names for a message."""
    return listed([str(name) for name in names], most)
