"""A heatmap of one per-class variable over classes and layers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from layerwise.arguments import choice
from layerwise.plot._cells import heatmap
from layerwise.plot._choose import Choice, choose, describe, expect, heading, over_seeds, values_of
from layerwise.plot._grid import profile_plot

__all__ = ["class_heatmap"]


@profile_plot(order=choice("order of classes", ("label", "size")))
def class_heatmap(
    ds: xr.Dataset,
    variable: str = "class_variance",
    *,
    split: str | None = None,
    target: str | None = None,
    epoch: int = -1,
    order: Literal["label", "size"] = "label",
    ax: Axes | None = None,
) -> Axes:
    """Draw a per-class variable, class by layer.

    Layers run from left to right in execution order, the first class is at the top. Classes have the names of the
    coordinate ``class_name`` if there is one; classes with an empty name belong to other targets and are left out.
    The scale is logarithmic where the values span a decade or more; cells without a finite value, such as those of
    absent classes, are hatched.

    Parameters
    ----------
    %(ds)s
    variable : str or sequence of str
        A variable with the dim ``class``: ``class_variance``, ``class_norm``, ``class_ncc_error``. A list of them makes
        a grid.
    %(split)s
    %(epoch)s
    order : {"label", "size"}
        Whether classes come in the order of their labels, or the largest first, with their sizes: samples in the split
        that is drawn (`class_count`).
    %(ax)s

    %(grid)s

    Raises
    ------
    UnknownName
        If there is no such variable, split, target or epoch, or the variable has no classes.
    """
    array, seeds = over_seeds(values_of(ds, variable, per_class=True))
    array, words = choose(array, Choice(split, target, epoch))
    expect(array, "layer", "class")
    labels = array["class_name" if "class_name" in array.coords else "class"].values
    rows = [(str(label), array.isel({"class": i})) for i, label in enumerate(labels) if str(label)]
    if order == "size":
        counts, _ = choose(over_seeds(values_of(ds, "class_count", per_class=True))[0], Choice(split, target, epoch))
        sizes = counts.max("layer").fillna(0).values[[bool(str(label)) for label in labels]]
        sized = [(f"{name} ({size:.0f})", row) for (name, row), size in zip(rows, sizes, strict=True)]
        rows = [sized[place] for place in np.argsort(-sizes, kind="stable")]
    return heatmap(rows, title=heading(variable, words, seeds), key=describe(array), ylabel="class", ax=ax)
