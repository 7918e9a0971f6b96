"""A heatmap of the similarity of all pairs of layers."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from layerwise.derive.pooling import pooling_text
from layerwise.plot._axes import short_names
from layerwise.plot._cells import heatmap
from layerwise.plot._choose import describe, values_of
from layerwise.plot._grid import profile_plot

__all__ = ["similarity_heatmap"]


@profile_plot()
def similarity_heatmap(ds: xr.Dataset, variable: str = "cka", *, ax: Axes | None = None) -> Axes:
    """Draw the similarity of all pairs of layers, from 0 to 1.

    The first network's layers run upward, the other's from left to right, both in execution order. The title names the
    pooling of the layers where it is one for all; otherwise the labels of the axes do.

    Parameters
    ----------
    ds : Dataset, or mapping of str to Dataset
        A Dataset that `layerwise.similarity` returned. A mapping of several makes a grid.
    variable : str or sequence of str
        A variable over pairs of layers.
    %(ax)s

    %(grid)s

    Raises
    ------
    UnknownName
        If there is no such variable.
    """
    array = values_of(ds, variable)
    labels, pattern = short_names([str(name) for name in array["layer"].values])
    across = array.drop_vars([name for name in array.coords if "layer" in array[name].dims]).rename(layer="row")
    across = across.rename({name: str(name).removeprefix("other_") for name in across.coords})
    rows = [(label, across.isel(row=place)) for place, label in enumerate(labels)]
    model, other = (str(ds.attrs.get(name, "")) for name in ("model", "other_model"))
    ylabel = f"layer ({pattern})" if pattern else "layer"
    if model != other:
        ylabel = f"{model}: {ylabel}"
    title = f"{variable}, {model}" if model == other else f"{variable}, {other} from left to right"
    pooled = [pooling_text(ds, names=labels), pooling_text(ds, "other_")]
    alike = pooled[0] == pooled[1] and "(" not in pooled[0]
    if alike:
        title += f", {pooled[0]} pooling" if pooled[0] else ""
    else:
        ylabel += f"\npooling: {pooled[0]}"
    return heatmap(
        rows,
        title=title,
        key=describe(array),
        ylabel=ylabel,
        upward=True,
        scale=Normalize(0.0, 1.0),
        pooling=not alike,
        ax=ax,
    )
