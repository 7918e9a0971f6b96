"""Rows of coloured cells, one cell a layer, from which every heatmap is made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from layerwise.derive.pooling import pooling_text
from layerwise.plot._axes import (
    DEPTH_LABEL,
    NAMED_LAYERS,
    SMALL,
    TINY,
    axes_or_new,
    common_layers,
    fit,
    label_layers,
    label_rows,
    points,
    short_names,
    text_size,
    wrapped,
)
from layerwise.plot._scales import BLANK, colour_scale, finite, is_logarithm, log_ticks, range_text, value_text

__all__ = [
    "CELL",
    "COLOURS",
    "OWN_SCALES",
    "ROW_ENDS",
    "Row",
    "colour_bar",
    "draw_cells",
    "heatmap",
    "write_ranges",
    "write_values",
]

#: A label, and the values of the row with the dim ``(layer,)``.
Row = tuple[str, xr.DataArray]

COLOURS = "viridis"
OWN_SCALES = "each row has its own scale; arrows show which way is collapse"
ROW_ENDS = ("row minimum", "row maximum")

# Width and height of a cell in inches: room for a number.
CELL = (0.42, 0.28)

# How bright red, green and blue are (Rec. 709).
LUMINANCE = (0.2126, 0.7152, 0.0722)

# With more rows than this no numbers are written: they would hide the colours.
MOST_ROWS_OF_NUMBERS = 16


def heatmap(
    rows: Sequence[Row],
    *,
    title: str,
    key: str | None,
    ylabel: str = "",
    upward: bool = False,
    scale: Normalize | None = None,
    pooling: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw rows of coloured cells over layers; over depth where the rows' layers differ.

    Parameters
    ----------
    rows : sequence of (label, array)
        From the top; from the bottom if `upward`.
    title : str
        Title of the Axes.
    key : str, optional
        Label of the one colour bar; without it each row has colours of its own, and its range to the right.
    ylabel : str
        Label of the y axis.
    scale : Normalize, optional
        Colours of all rows; those of the values by default.
    pooling : bool
        Whether to name the layers' pooling below them even where it is the same for all of them.
    ax : Axes, optional
        Where to draw; by default a new figure.
    """
    labels = [label for label, _ in rows]
    arrays = [array for _, array in rows]
    names = common_layers(arrays)
    ax, height = axes_or_new(ax, CELL[0] * max(array.size for array in arrays), CELL[1] * len(rows))
    everything = np.concatenate([array.values for array in arrays])
    row_scales = [colour_scale(array.values, is_logarithm(array)) for array in arrays]
    scales = row_scales if key is None else [scale or colour_scale(everything, is_logarithm(arrays[0]))] * len(rows)
    meshes = draw_cells(ax, arrays, scales, over_depth=names is None)
    ax.set_ylim((-0.5, len(rows) - 0.5) if upward else (len(rows) - 0.5, -0.5))
    ax.set_ylabel(ylabel, fontsize=SMALL)
    if key is None:
        write_ranges(ax, [range_text(array.values, scale) for array, scale in zip(arrays, row_scales, strict=True)])
    if finite(everything).size:
        source = ScalarMappable(Normalize(0.0, 1.0), COLOURS) if key is None else meshes[0]
        ends = ROW_ENDS if key is None else ()
        colour_bar([ax], source, OWN_SCALES if key is None else key, points(ax, height), ends=ends)
    else:
        title = f"{title}, {BLANK}" if title else BLANK
    ax.set_title(title, fontsize="medium", loc="left")
    label_rows(ax, labels, height)
    ax.set_xlabel(DEPTH_LABEL, fontsize=SMALL)
    fit(ax)
    label_rows(ax, labels, height)
    if names is not None:
        label_layers(ax, names)
        if len({pooling_text(array) for array in arrays}) == 1:
            name_pooling(ax, arrays[0], names, always=pooling)
    fit(ax, height)
    if names is not None:
        # The caller's Axes may still shrink, when their neighbours get labels and colour bars.
        room = 0.65 if height is None else 0.9
        write_values(ax, arrays, meshes, (room * points(ax)[0], 0.9 * points(ax, height)[1]))
    return ax


def name_pooling(ax: Axes, array: xr.DataArray, names: Sequence[str], *, always: bool = False) -> None:
    """Name the pooling below the layers where it is not the same for all of them, or `always`."""
    text = pooling_text(array, names=short_names(names)[0])
    if "(" in text or (always and text):
        ax.set_xlabel(f"{ax.get_xlabel()}\n{wrapped(f'pooling: {text}', points(ax)[0])}", fontsize=SMALL)


def draw_cells(
    ax: Axes,
    arrays: Sequence[xr.DataArray],
    scales: Sequence[Normalize],
    *,
    over_depth: bool,
    colours: str = COLOURS,
) -> list[QuadMesh]:
    """Draw one mesh if all rows share layers and a scale, else one a row; values that are not finite are hatched."""
    values = [np.ma.masked_invalid(array.values)[None] for array in arrays]
    one_mesh = not over_depth and all(scale is scales[0] for scale in scales)
    meshes = []
    for i, block in enumerate([np.ma.vstack(values)] if one_mesh else values):
        x = depth_edges(arrays[i]["depth"].values) if over_depth else np.arange(block.shape[1] + 1) - 0.5
        y = i - 0.5 + np.arange(block.shape[0] + 1)
        meshes.append(ax.pcolormesh(x, y, block, norm=scales[i], cmap=colours, shading="flat"))
    if any(np.ma.getmaskarray(block).any() for block in values):
        ax.patch.set(facecolor="0.93", edgecolor="0.7", hatch="////", linewidth=0.0)
    ax.set_xlim((0.0, 1.0) if over_depth else (-0.5, arrays[0].size - 0.5))
    ax.tick_params(length=2, width=0.5, labelsize=SMALL)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return meshes


def depth_edges(depth: np.ndarray) -> np.ndarray:
    """Return edges of cells such that every place shows the layer nearest to it in depth."""
    return np.concatenate([[0.0], (depth[1:] + depth[:-1]) / 2, [1.0]])


def colour_bar(
    axes: Sequence[Axes],
    source: ScalarMappable,
    text: str,
    room: tuple[float, float],
    *,
    ends: Sequence[str] = (),
    whole: bool = False,
) -> None:
    """Draw a colour bar to the right of the Axes, or below Axes of little height.

    `ends` are words for the scale's ends, in place of numbers; `whole` restricts the numbers to whole ones.
    """
    # An upright label needs a height of about 30 characters.
    level = bool(ends) or room[1] < 150
    figure = axes[0].figure.canvas.figure
    if level:
        # A layout engine leaves space for the layers' names; without one the pad does.
        pad = 0.3 if figure.get_layout_engine() is None else 0.05
        bar = figure.colorbar(source, ax=axes, location="bottom", shrink=0.5, aspect=30, pad=pad)
    else:
        bar = figure.colorbar(source, ax=axes, location="right", aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=TINY, length=2, width=0.5)
    if isinstance(source.norm, LogNorm):
        ticks = log_ticks(*source.get_clim())
        bar.set_ticks(ticks, labels=[value_text(tick) for tick in ticks])
        bar.minorticks_off()
    if whole:
        bar.locator = MaxNLocator(integer=True)
        bar.update_ticks()
    if ends:
        low, high = source.get_clim()
        bar.set_ticks(np.linspace(low or 0.0, high or 0.0, len(ends)).tolist(), labels=ends)
    bar.set_label(wrapped(text, room[0 if level else 1]), fontsize=SMALL)


def write_ranges(ax: Axes, texts: Sequence[str]) -> None:
    """Write each row's range to its right."""
    place = ax.get_yaxis_transform()
    for i, text in enumerate(texts):
        ax.text(1.0, i, f" {text}", transform=place, va="center", fontsize=TINY, alpha=0.7)


def write_values(
    ax: Axes, arrays: Sequence[xr.DataArray], meshes: Sequence[QuadMesh], room: tuple[float, float]
) -> None:
    """Write the numbers if layers are few and each fits its cell; `room` is the size of all cells in points."""
    width, height = room[0] / arrays[0].size, room[1] / len(arrays)
    line = text_size("", TINY)[1]
    if line > height or arrays[0].size > NAMED_LAYERS or len(arrays) > MOST_ROWS_OF_NUMBERS:
        return
    texts = {
        (x, y): value_text(float(value))
        for y, array in enumerate(arrays)
        for x, value in enumerate(array.values)
        if np.isfinite(value)
    }
    if any(text_size(text, TINY)[0] > width for text in texts.values()):
        return
    for (x, y), text in texts.items():
        mesh = meshes[y if len(meshes) > 1 else 0]
        dark = np.asarray(mesh.to_rgba(arrays[y].values[[x]]))[0, :3] @ LUMINANCE < 0.45
        ax.text(x, y, text, ha="center", va="center", fontsize=TINY, color="white" if dark else "black")
