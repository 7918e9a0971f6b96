"""Two profiles brought to the same layers, or places, and labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from layerwise.errors import InvalidData, listed

__all__ = ["at_depths", "at_labels", "at_layers", "shortened"]


def at_layers(a: xr.Dataset, b: xr.Dataset, pairs: Sequence[tuple[str, str]]) -> tuple[xr.Dataset, xr.Dataset]:
    """The layers of both in one order, under the names that they have in the first."""
    names, others = [one for one, _ in pairs], [two for _, two in pairs]
    a = a.sel(layer=names).assign_coords(other_layer=("layer", others))
    b = b.sel(layer=others)
    if "reduction" in b.coords:
        a = a.assign_coords(other_reduction=("layer", b["reduction"].values))
    b = b.drop_vars([name for name in b.coords if "layer" in b[name].dims])
    return a, b.assign_coords(layer=a["layer"])


def at_depths(ds: xr.Dataset, grid: np.ndarray) -> xr.Dataset:
    """The variables at the places of a grid, linear between the layers; a place has empty coordinates."""
    ds = ds.sortby("depth")
    depth = ds["depth"].values

    def interpolated(values: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.interp(grid, depth, values)
        return found

    variables = {}
    for name, array in ds.drop_vars([name for name in ds.coords if "layer" in ds[name].dims]).data_vars.items():
        variables[name] = array
        if "layer" in array.dims:
            found = xr.apply_ufunc(
                interpolated,
                array.astype(np.float64),
                input_core_dims=[["layer"]],
                output_core_dims=[["layer"]],
                exclude_dims={"layer"},
                vectorize=True,
                keep_attrs=True,
            )
            variables[name] = found.transpose(*array.dims)
    nothing = {name: ("layer", [""] * len(grid)) for name in ("kind", "shape", "reduction")}
    numbers = {name: ("layer", [0] * len(grid)) for name in ("features", "parameters")}
    places = {"layer": ("layer", [f"depth {place:.3f}" for place in grid]), "depth": ("layer", grid)}
    return xr.Dataset(variables).assign_coords(nothing | numbers | places)


def at_labels(a: xr.Dataset, b: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """The labels of every dim that both have.

    Raises
    ------
    InvalidData
        If there is a dim of which they share none.
    """
    if a.sizes.get("epoch") == b.sizes.get("epoch") == 1:
        a = a.assign_coords(epoch=b["epoch"].values)
    first, second = xr.align(a, b, join="inner")
    for dim, size in first.sizes.items():
        if not size and dim in b.dims:
            hint = "; give one of each, ds.isel(epoch=[-1])" if dim == "epoch" else ""
            raise InvalidData(
                f"the profiles have no {dim} in common: {shortened(a[dim].values)}; {shortened(b[dim].values)}{hint}"
            )
    return first, second


def shortened(names: Iterable[object], most: int = 6) -> str:
    """A list of names for a message."""
    return listed([str(name) for name in names], most)
