"""A variable against the training error, epoch by epoch."""

from __future__ import annotations

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes

from layerwise.arguments import number
from layerwise.errors import UnknownName
from layerwise.plot._axes import SMALL, axes_or_new, fit, points, wrapped
from layerwise.plot._cells import COLOURS, colour_bar
from layerwise.plot._choose import Choice, choose, describe, expect, heading, over_seeds, values_of
from layerwise.plot._grid import profile_plot
from layerwise.plot._scales import BLANK, is_logarithm, scale_axis

__all__ = ["phase_plot"]

# More points than this are small.
MANY_POINTS = 60


@profile_plot(tolerance=number("a tolerance is a number of 0 or more", 0))
def phase_plot(
    ds: xr.Dataset,
    variable: str = "nc1",
    *,
    error: str = "network_error",
    layer: str | None = None,
    split: str | None = None,
    target: str | None = None,
    tolerance: float = 0.0,
    ax: Axes | None = None,
) -> Axes:
    """Draw a variable of one layer against the training error, a point an epoch.

    Points are joined in the order of time, and coloured by it. A ring marks the interpolation threshold, the first
    epoch with a training error of zero: after it comes the terminal phase of training, in which the error stays zero
    and collapse continues. An axis is logarithmic where its values span a decade or more; zeros then have a place of
    their own at its end, beyond a dotted line.

    Parameters
    ----------
    %(ds)s
    %(variable)s
    error : str
        A variable with or without layers, taken on the training split (the first one where none is called ``train``).
    layer : str, optional
        By default the last features: the classifier's input, or else the last layer that is not the logits.
    split : str, optional
        The split of the variable: ``train`` if there is one by default, else the first.
    target : str, optional
        The first by default.
    tolerance : float
        The greatest error that counts as zero for the threshold.
    %(ax)s

    %(grid)s

    Raises
    ------
    UnknownName
        If there is no such variable, layer, split or target.
    SchemaMismatch
        If the variable or the error does not depend on the epoch, or a dim of the Dataset holds several runs.
    """
    layer = last_features(ds) if layer is None else layer
    values, words = trajectory(ds, variable, layer, Choice(split, target))
    errors, error_words = trajectory(ds, error, layer, Choice(None, target))
    values, errors = xr.align(values, errors, join="inner")
    ax, height = axes_or_new(ax, 3.0, 2.8)
    draw(ax, values, errors, tolerance)
    ax.set_title(heading(variable, [layer], words), fontsize="medium", loc="left")
    width, tall = points(ax, height)
    name = str(errors.attrs.get("long_name") or error)
    ax.set_xlabel(wrapped(", ".join([name, *error_words]), width), fontsize=SMALL)
    ax.set_ylabel(wrapped(describe(values), tall), fontsize=SMALL)
    ax.tick_params(labelsize=SMALL)
    sns.despine(ax=ax)
    fit(ax)
    fit(ax, height)
    return ax


def last_features(ds: xr.Dataset) -> str:
    """Return the classifier's input; where that is unknown, the last layer that is not the logits."""
    ordered = ds["layer"].sortby("depth") if "depth" in ds.coords else ds["layer"]
    names = [str(name) for name in ordered.values]
    roles = [str(role) for role in ordered["role"].values] if "role" in ordered.coords else [""] * len(names)
    features = [name for name, role in zip(names, roles, strict=True) if role == "features"]
    others = [name for name, role in zip(names, roles, strict=True) if role != "logits"]
    return (features or others or names)[-1]


def trajectory(ds: xr.Dataset, name: str, layer: str, choice: Choice) -> tuple[xr.DataArray, list[str]]:
    """Return a variable's values by epoch, at the layer if it has layers, and the words for the choice."""
    if name in ds.data_vars and "layer" not in ds[name].dims:
        array = ds[name].astype(np.float64)
    else:
        array = values_of(ds, name)
        names = [str(label) for label in array["layer"].values]
        if layer not in names:
            raise UnknownName("layer", layer, names)
        array = array.isel(layer=names.index(layer))
    array, seeds = over_seeds(array)
    array, words = choose(array, choice, keep=("epoch",))
    expect(array, "epoch")
    array = array.sortby("epoch")
    return array.drop_vars([key for key in array.coords if key != "epoch"]), [*words, *seeds]


def draw(ax: Axes, values: xr.DataArray, errors: xr.DataArray, tolerance: float) -> None:
    """Draw the points of all epochs that have both numbers, the line through them, and the threshold."""
    finite = np.isfinite(values.values) & np.isfinite(errors.values)
    x, y, epochs = (array[finite] for array in (errors.values, values.values, values["epoch"].values))
    if not len(x):
        ax.text(0.5, 0.5, BLANK, transform=ax.transAxes, ha="center", color="0.4", fontsize=SMALL)
        ax.set(xticks=[], yticks=[])
        return
    ax.plot(x, y, color="0.75", linewidth=0.8, zorder=1)
    many = len(x) > MANY_POINTS
    dots = ax.scatter(
        x, y, c=epochs, cmap=COLOURS, s=8 if many else 24, linewidths=0 if many else 0.3, edgecolors="0.3"
    )
    dots.set_zorder(2)
    scale_axis(ax, "x", x)
    scale_axis(ax, "y", y, logarithms=is_logarithm(values))
    if ax.get_xscale() == "symlog":
        ax.axvline(0.5 * x[x > 0].min(), color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    if ax.get_yscale() == "symlog":
        ax.axhline(0.5 * y[y > 0].min(), color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    if len(x) > 1:
        colour_bar([ax], dots, "epoch", points(ax), whole=bool((epochs == np.round(epochs)).all()))
    reached = np.flatnonzero(x <= tolerance)
    if len(reached):
        first = reached[0]
        label = f"interpolation threshold, epoch {epochs[first]}"
        ax.plot(x[first], y[first], "o", markersize=10, markerfacecolor="none", markeredgecolor="black", label=label)
        ax.legend(fontsize=SMALL, frameon=False)
