"""How alike layers are, layer by layer, as cells of colour."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from layerwise.arguments import checked
from layerwise.derive.pooling import pooling_text
from layerwise.plot._arguments import ARGUMENTS
from layerwise.plot._axes import short_names
from layerwise.plot._cells import heatmap
from layerwise.plot._choose import describe, values_of

__all__ = ["similarity_heatmap"]


@checked(ARGUMENTS)
def similarity_heatmap(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the similarity of all pairs of layers, from 0 to 1.

    The first network's layers run upward, the other's from left to right, both in execution order. How they are pooled
    is in the title where it is one way, else beside the layers.

    Parameters
    ----------
    ds : Dataset
        What `layerwise.similarity` gives.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        What was drawn on.

    Raises
    ------
    UnknownName
        If there is no ``cka``.
    """
    array = values_of(ds, "cka")
    labels, pattern = short_names([str(name) for name in array["layer"].values])
    across = array.drop_vars([name for name in array.coords if "layer" in array[name].dims]).rename(layer="row")
    across = across.rename({name: str(name).removeprefix("other_") for name in across.coords})
    rows = [(label, across.isel(row=place)) for place, label in enumerate(labels)]
    one, two = (str(ds.attrs.get(name, "")) for name in ("model", "other_model"))
    ylabel = f"layer ({pattern})" if pattern else "layer"
    if one != two:
        ylabel = f"{one}: {ylabel}"
    title = f"cka, {one}" if one == two else f"cka, {two} from left to right"
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
