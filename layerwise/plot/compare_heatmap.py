"""Heatmaps of two profiles over depth, and of their difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.ticker import AutoLocator

from layerwise.arguments import NAME, checked, several
from layerwise.derive import compare, pooling_text
from layerwise.derive._unlike import Differences, differences
from layerwise.errors import InvalidData
from layerwise.plot._arguments import ARGUMENTS, VARIABLES
from layerwise.plot._axes import DEPTH_LABEL, SMALL, fit, label_layers, label_rows, new_panels, points
from layerwise.plot._cells import CELL, COLOURS, ROW_ENDS, colour_bar, draw_cells, write_ranges, write_values
from layerwise.plot._choose import Choice, describe
from layerwise.plot._docstrings import documented
from layerwise.plot._rows import rows_of_splits, rows_of_variables
from layerwise.plot._scales import (
    BLANK,
    colour_scale,
    diverging_scale,
    finite,
    is_logarithm,
    range_text,
    spans_decades,
)

__all__ = ["compare_heatmap"]

_NAMES = several("two profiles have two names", NAME, least=2, most=2)
# Neither red nor green; white where nothing differs.
DIVERGING = "PuOr_r"
DIVERGING_ENDS = ("lower", "no difference", "higher")
RATIO = r"$\log_{10}$ ratio"

# The sign of a difference where the second profile is nearer to collapse, by the metric's direction of collapse.
NEARER = {"down": "negative", "up": "positive"}


class Line(NamedTuple):
    """A row of each of the three panels, all over layers; and whether the difference is the logarithm of a ratio."""

    label: str
    first: xr.DataArray
    second: xr.DataArray
    difference: xr.DataArray
    ratio: bool
    scale: Normalize
    diverging: Normalize


@checked(ARGUMENTS, variable=VARIABLES, names=_NAMES)
@documented
def compare_heatmap(
    a: xr.Dataset,
    b: xr.Dataset,
    variable: str | Sequence[str] = "nc1",
    *,
    names: tuple[str, str] = ("a", "b"),
    split: str | None = None,
    target: str | None = None,
    epoch: int = -1,
) -> np.ndarray:
    """Draw two profiles, and below them the second less the first.

    With one variable the rows are the splits that both have, in the same colours. Several variables are a row each,
    with colours of its own, the same in both profiles, and its ranges to the right. The difference is white where there
    is none. Where the values are positive and span a decade or more, it is the decimal logarithm of their ratio, and
    the labels say so.

    Titles name how layers are pooled, and the other differences between the profiles besides their networks.

    Layers are those that both profiles have. Where the networks differ all is drawn over depth, and the difference is
    taken of values interpolated between the layers (see `layerwise.compare`).

    Parameters
    ----------
    a, b : Dataset
        Profiles; with several seeds the median is shown.
    variable : str or sequence of str
        Variables with one value a layer, which both have.
    names : (str, str)
        Names of the profiles.
    split, target : str, optional
        ``train`` if there is one by default, else the first; with a single variable all splits.
    epoch : int
        The epoch's label; negative numbers count from the last one of each profile.

    Returns
    -------
    ndarray of Axes
        The first profile, the second, and the difference, in a new figure.

    Raises
    ------
    UnknownName
        If there is no such variable, split, target or epoch, or a variable is per class.
    InvalidData
        If the profiles have no split in common, or measure different things (`layerwise.derive.align`).
    """
    variables = [variable] if isinstance(variable, str) else list(variable)
    unlike = differences(a, b)
    choice = Choice(split, target, epoch)
    (first, first_words), (second, second_words) = (chosen_rows(ds, variables, choice) for ds in (a, b))
    together = len(variables) == 1
    lines, over_depth = compared(first, second, together=together)
    shown = variables if together else []
    titles = [
        f"{name}: {', '.join([*shown, *words, *notes])}".removesuffix(": ")
        for name, words, notes in zip(names, (first_words, second_words), title_notes(a, b, unlike), strict=True)
    ]
    ratio = together and lines[0].ratio
    titles.append(f"{RATIO}, {names[1]} to {names[0]}" if ratio else f"{names[1]} less {names[0]}")
    titles[2] += f" (unlike: {', '.join(unlike)})" if unlike else ""
    return draw(lines, titles, names[1], over_depth=over_depth, together=together)


def title_notes(a: xr.Dataset, b: xr.Dataset, unlike: Differences) -> tuple[list[str], list[str]]:
    """Return what each title says of its profile: the pooling of its layers, and its data where the other's differ.

    A pooling that holds for both is in the first.
    """
    notes = []
    for place, ds in enumerate((a, b)):
        pooling = pooling_text(ds)
        # Where only some layers are pooled in another way, the title names only those.
        short = unlike.get("pooling", ["", ""])[place] if "(" in pooling else pooling
        words = [f"{short} pooling"] if short and (not place or "pooling" in unlike) else []
        notes.append([*words, *(unlike[what][place] for what in ("data", "samples") if what in unlike)])
    return notes[0], notes[1]


def chosen_rows(ds: xr.Dataset, names: Sequence[str], choice: Choice) -> tuple[xr.Dataset, list[str]]:
    """Return the rows as variables over layers, and the words for the choice."""
    rows, words = rows_of_splits(ds, names[0], choice) if len(names) == 1 else rows_of_variables(ds, names, choice)
    # The words have the split and the epoch; without these coordinates the rows of both profiles align.
    plain = {label: array.drop_vars([name for name in array.coords if not array[name].dims]) for label, array in rows}
    return xr.Dataset(plain, attrs=ds.attrs), words


def compared(first: xr.Dataset, second: xr.Dataset, *, together: bool) -> tuple[list[Line], bool]:
    """Return the lines, on the same scales if they are drawn together, and whether they are over depth."""
    labels = [label for label in first.data_vars if label in second]
    if not labels:
        raise InvalidData(
            f"the profiles have no split in common: {', '.join(map(str, first))}; {', '.join(map(str, second))}"
        )
    values = {label: np.concatenate([first[label].values, second[label].values]) for label in labels}
    if together:
        values = dict.fromkeys(labels, np.concatenate(list(values.values())))
    ratios = [
        label
        for label in labels
        if spans_decades(values[label], is_logarithm(first[label])) and (finite(values[label]) > 0).all()
    ]
    logarithms = [ds[labels].assign({label: np.log10(ds[label]) for label in ratios}) for ds in (first, second)]
    difference = compare(*logarithms)
    over_depth = difference.attrs["compared_on"] == "depth"
    if not over_depth:
        first = first.sel(layer=difference["layer"].values)
        second = second.sel(layer=difference["other_layer"].values)
    scales = {label: colour_scale(values[label], is_logarithm(first[label])) for label in labels}
    sizes = {label: 1.0 if label in ratios else np.abs(finite(values[label])).max(initial=0.0) for label in labels}
    diverging = {label: diverging_scale(difference[label].values, sizes[label]) for label in labels}
    if together:
        changes = np.concatenate([difference[label].values for label in labels])
        scales = dict.fromkeys(labels, scales[labels[0]])
        diverging = dict.fromkeys(labels, diverging_scale(changes, sizes[labels[0]]))
    lines = [
        Line(
            str(label), first[label], second[label], difference[label], label in ratios, scales[label], diverging[label]
        )
        for label in labels
    ]
    return lines, over_depth


def draw(lines: Sequence[Line], titles: Sequence[str], name: str, *, over_depth: bool, together: bool) -> np.ndarray:
    """Draw the three panels one below the other, and the colour bars of the profiles and of the difference."""
    rows = [[line.first for line in lines], [line.second for line in lines], [line.difference for line in lines]]
    width = CELL[0] * max(array.size for arrays in rows for array in arrays)
    axes, height = new_panels(3, width, CELL[1] * max(len(lines), 2))
    scales = [line.scale for line in lines], [line.diverging for line in lines]
    kinds = [(scales[0], COLOURS), (scales[0], COLOURS), (scales[1], DIVERGING)]
    meshes = []
    for ax, arrays, title, (panel_scales, colours) in zip(axes, rows, titles, kinds, strict=True):
        meshes.append(draw_cells(ax, arrays, panel_scales, over_depth=over_depth, colours=colours))
        ax.set_ylim(len(lines) - 0.5, -0.5)
        empty = not any(finite(array.values).size for array in arrays)
        ax.set_title(f"{title}, {BLANK}" if empty else title, fontsize="medium", loc="left")
        ax.set_xticks([])
    if not together:
        write_ranges(axes[0], [range_text(line.first.values, line.scale) for line in lines])
        write_ranges(axes[1], [range_text(line.second.values, line.scale) for line in lines])
        write_ranges(axes[2], [change_text(line) for line in lines])
    axes[2].set_xlabel(DEPTH_LABEL, fontsize=SMALL)
    colour_bars(axes, meshes[0][0], meshes[2][0], lines, name, together=together)
    if over_depth:
        axes[2].xaxis.set_major_locator(AutoLocator())
    for ax in axes:
        label_rows(ax, [line.label for line in lines], height)
    fit(axes[2])
    if not over_depth:
        label_layers(axes[2], [str(layer) for layer in rows[0][0]["layer"].values])
    fit(axes[2], height, panels=3)
    if not over_depth:
        for ax, arrays, drawn in zip(axes, rows, meshes, strict=True):
            write_values(ax, arrays, drawn, (0.9 * points(ax)[0], 0.9 * points(ax, height)[1]))
    return np.array(axes)


def colour_bars(
    axes: Sequence[Axes], values: QuadMesh, difference: QuadMesh, lines: Sequence[Line], name: str, *, together: bool
) -> None:
    """Draw a colour bar for both profiles and one for the difference; without numbers where rows differ in scale."""
    room = points(axes[0])
    if together:
        metric = lines[0].first
        nearer = NEARER.get(metric.attrs.get("direction", "none"))
        what = RATIO if lines[0].ratio else "difference"
        colour_bar(axes, values, describe(metric), room)
        colour_bar(axes, difference, f"{what}; {nearer}: {name} is nearer to collapse" if nearer else what, room)
        return
    unit = Normalize(0.0, 1.0)
    colour_bar(
        axes, ScalarMappable(unit, COLOURS), "each row has its own scale, for both profiles", room, ends=ROW_ENDS
    )
    text = "difference, each row on its own scale; arrows show which way is collapse"
    colour_bar(axes, ScalarMappable(unit, DIVERGING), text, room, ends=DIVERGING_ENDS)


def change_text(line: Line) -> str:
    """Return the least and the greatest difference of a row, and whether it is the logarithm of a ratio."""
    shown = finite(line.difference.values)
    if not shown.size:
        return BLANK
    ends = (float(value) for value in (shown.min(), shown.max()))
    text = " to ".join(dict.fromkeys(f"{value:+.2g}" if value else "0" for value in ends))
    return f"{text}, {RATIO}" if line.ratio else text
