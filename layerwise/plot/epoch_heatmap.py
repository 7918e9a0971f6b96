"""One metric over epochs and layers, as cells of colour."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes

from layerwise.plot._cells import heatmap
from layerwise.plot._choose import Choice, choose, describe, expect, heading, over_seeds, values_of
from layerwise.plot._grid import profile_plot

__all__ = ["epoch_heatmap"]


@profile_plot()
def epoch_heatmap(
    ds: xr.Dataset,
    variable: str = "nc1",
    *,
    split: str | None = None,
    target: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how a variable changes during training, epoch by layer.

    Layers run from left to right in execution order, time upward from the first epoch. Every measured epoch is one row
    of the same height, labelled with its number, whatever the distance to the next. The scale is logarithmic where
    the values span a decade or more; cells without a finite value are hatched.

    Parameters
    ----------
    %(ds)s
    %(variable)s
    %(split)s
    %(ax)s

    %(grid)s

    Raises
    ------
    UnknownName
        If there is no such variable, split or target, or the variable is per class.
    SchemaMismatch
        If the variable does not depend on the epoch, or a dim of the Dataset holds several runs.
    """
    array, seeds = over_seeds(values_of(ds, variable))
    array, words = choose(array, Choice(split, target), keep=("epoch",))
    expect(array, "epoch", "layer")
    rows = [(str(epoch), array.isel(epoch=i)) for i, epoch in enumerate(array["epoch"].values)]
    title = heading(variable, words, seeds)
    return heatmap(rows, title=title, key=describe(array), ylabel="epoch", upward=True, ax=ax)
