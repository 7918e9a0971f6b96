"""One metric over epochs and layers, as cells of colour."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes

from layerwise.arguments import checked
from layerwise.plot._arguments import ARGUMENTS
from layerwise.plot._cells import heatmap
from layerwise.plot._choose import Choice, choose, describe, expect, heading, over_seeds, values_of

__all__ = ["epoch_heatmap"]


@checked(ARGUMENTS)
def epoch_heatmap(
    ds: xr.Dataset,
    metric: str,
    *,
    split: str | None = None,
    target: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how a metric moves through training, epoch by layer.

    Layers run from left to right in execution order, time upward from the first epoch. Every measured epoch is one row
    of the same height, labelled with its number, however far apart they lie. The scale is logarithmic where
    the values span a decade or more; cells without a finite value are hatched; of several seeds the median is shown.

    Parameters
    ----------
    ds : Dataset
        A profile.
    metric : str
        A variable with one value an epoch and layer.
    split, target : str, optional
        ``train`` if there is one by default, else the first.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        What was drawn on.

    Raises
    ------
    UnknownName
        If there is no such metric, split or target, or the metric is per class.
    SchemaMismatch
        If the metric does not depend on the epoch, or several runs are in the way.
    """
    array, seeds = over_seeds(values_of(ds, metric))
    array, words = choose(array, Choice(split, target), keep=("epoch",))
    expect(array, "epoch", "layer")
    rows = [(str(epoch), array.isel(epoch=i)) for i, epoch in enumerate(array["epoch"].values)]
    return heatmap(rows, title=heading(metric, words, seeds), key=describe(array), ylabel="epoch", upward=True, ax=ax)
