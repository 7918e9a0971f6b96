"""A number over two parameters of a model, and the boundary between its phases."""

from __future__ import annotations

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from layerwise.arguments import checked, instance, number, optional, several
from layerwise.errors import SchemaMismatch
from layerwise.plot._arguments import ARGUMENTS
from layerwise.plot._axes import SMALL, TINY, axes_or_new, fit, points, wrapped
from layerwise.plot._cells import COLOURS
from layerwise.plot._choose import describe
from layerwise.plot._docstrings import documented

__all__ = ["phase_diagram"]

_ARRAY = instance("it is an xarray DataArray", xr.DataArray)


@checked(
    ARGUMENTS,
    values=_ARRAY,
    boundary=optional(_ARRAY),
    scale=optional(several("a scale is its two ends", number(""), least=2, most=2)),
)
@documented
def phase_diagram(
    values: xr.DataArray,
    boundary: xr.DataArray | None = None,
    *,
    scale: tuple[float, float] | None = None,
    bar: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw a number over two parameters as a heatmap, with the boundary that is predicted between its phases.

    Parameters
    ----------
    values : DataArray
        Two dims with coordinates: the first goes up, the second across. Labels are the ``long_name`` of each. Cells
        of NaN stay grey.
    boundary : DataArray, optional
        Where the phase changes, in units of the first dim, over the second dim of `values`; it may have other
        coordinates.
    scale : (float, float), optional
        Ends of the colours, so that two diagrams can be compared; the least and the largest value by default.
    bar : bool
        Whether to draw a colour bar; two diagrams on the same scale need only one.
    title : str
        Title of the Axes.
    %(ax)s

    %(axes)s

    Raises
    ------
    SchemaMismatch
        If there are not two dims, or the boundary is not over the second of them.

    Examples
    --------
    >>> import xarray as xr
    >>> grid = xr.DataArray([[0.0, 0.0], [0.5, 1.0]], {"strength": [0.1, 0.2], "ratio": [1, 2]}, ["strength", "ratio"])
    >>> phase_diagram(grid).get_xlabel()
    'ratio'
    """
    if values.ndim != 2:
        raise SchemaMismatch(f"a phase diagram has two dims, and {values.name or 'the array'} has {list(values.dims)}")
    up, across = map(str, values.dims)
    if boundary is not None and boundary.dims != (across,):
        raise SchemaMismatch(f"a boundary is over {across!r} alone, and this one is over {list(boundary.dims)}")
    ax, height = axes_or_new(ax, 3.0, 2.6)
    finite = values.values[np.isfinite(values.values)]
    low, high = scale or (float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf)))
    x, y = (_edges(values[dim].values.astype(float)) for dim in (across, up))
    ax.set_facecolor("0.93")
    mesh = ax.pcolormesh(
        x, y, np.ma.masked_invalid(values.values), norm=Normalize(low, high), cmap=COLOURS, rasterized=True
    )
    if boundary is not None:
        ax.plot(boundary[across].values, boundary.values, color="white", linewidth=3.0)
        ax.plot(boundary[across].values, boundary.values, color="black", linewidth=1.2, linestyle="--")
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.set_title(title, fontsize=SMALL, loc="left")
    ax.set_xlabel(_label(values[across]), fontsize=SMALL)
    ax.set_ylabel(_label(values[up]), fontsize=SMALL)
    ax.tick_params(labelsize=SMALL)
    ax.grid(False)
    sns.despine(ax=ax)
    if bar:
        figure = ax.figure.canvas.figure
        colours = figure.colorbar(mesh, ax=ax, aspect=30)
        colours.outline.set_visible(False)
        colours.ax.tick_params(labelsize=TINY, length=2, width=0.5)
        colours.set_label(wrapped(describe(values), points(ax, height)[1]), fontsize=SMALL)
    fit(ax, height)
    return ax


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return edges of cells half-way between their centres."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.asarray(np.r_[2 * centres[0] - middle[0], middle, 2 * centres[-1] - middle[-1]])


def _label(axis: xr.DataArray) -> str:
    return str(axis.attrs.get("long_name") or axis.name)
