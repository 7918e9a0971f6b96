"""One variable over depth, a line for each split, run, epoch or target."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from layerwise.arguments import choice, optional
from layerwise.derive.interval import interval, with_interval
from layerwise.errors import SchemaMismatch
from layerwise.plot._axes import (
    DEPTH_LABEL,
    NAMED_LAYERS,
    SMALL,
    STEPS,
    axes_or_new,
    common_layers,
    fit,
    label_layers,
    points,
    wrapped,
)
from layerwise.plot._choose import (
    Choice,
    Profiles,
    by_run,
    choose,
    common_words,
    describe,
    expect,
    heading,
    over_seeds,
    values_of,
)
from layerwise.plot._grid import profile_plot
from layerwise.plot._scales import BLANK, finite, is_logarithm, scale_axis
from layerwise.schema import CHANCE

__all__ = ["depth_curve"]

Hue = Literal["split", "run", "epoch", "target"]

# Lines differ in more than colour.
MARKERS = "osD^vPX*<>"
DASHES = ("-", "--", "-.", ":")

# More epochs than this are not all listed, nor their layers marked.
LISTED_EPOCHS = 8


class Chance(NamedTuple):
    """The values under shuffled labels: their mean, and the edges of the band that holds 95%."""

    mean: xr.DataArray
    low: xr.DataArray
    high: xr.DataArray


class Curve(NamedTuple):
    """A line, the edges of the band around it, and the values by chance, each with the dim ``(layer,)``."""

    label: str
    values: xr.DataArray
    low: xr.DataArray | None
    high: xr.DataArray | None
    chance: Chance | None = None


@profile_plot(runs_are_pictures=False, hue=optional(choice("hue", get_args(Hue))))
def depth_curve(
    ds: Profiles,
    variable: str = "nc1",
    *,
    hue: Hue | None = None,
    split: str | None = None,
    target: str | None = None,
    epoch: int = -1,
    ax: Axes | None = None,
) -> Axes:
    """Draw a variable over depth, one line for each split, run, epoch or target.

    Up to 24 layers are named on the x axis if the lines share them, otherwise it is depth. The y axis is logarithmic
    where the values span a decade or more.

    Over several seeds the line is the median and the band the whole range. Otherwise the band of a profile with
    ``jackknife`` is the 95% interval (`layerwise.derive.interval`); a standard error ``<variable>_se`` that is not from
    groups of samples makes a band of one to either side. Where there is ``<variable>_null``, and the lines are not
    epochs, a dotted line with a pale band of the same colour is the mean under shuffled labels and the band that holds
    95% of them.

    Parameters
    ----------
    ds : Dataset, or mapping of str to Dataset
        A profile. Several runs come as a mapping from their names, or along the dim ``run``; each is a line.
    %(variable)s
    hue : {"split", "run", "epoch", "target"}, optional
        What the lines are: ``run`` by default if there are several, else ``split``. With ``run`` and no runs,
        each seed is a line.
    split, target : str, optional
        ``train`` if there is one by default, else the first; all of them where they are the lines.
    epoch : int
        The epoch's label; negative numbers count from the last. Without effect where epochs are the lines.
    %(ax)s

    Returns
    -------
    Axes or ndarray of Axes
        Axes for one variable; for a list of them an array with an entry for each.

    Raises
    ------
    UnknownName
        If there is no such variable, hue, split, target or epoch, or the variable is per class.
    SchemaMismatch
        If there are several runs and `hue` is something else.
    """
    choice = Choice(split, target, epoch)
    runs = by_run(ds, ("run", "seed") if hue == "run" else ("run",))
    if runs is not None and hue in (None, "run"):
        hue = "run"
        curves, words = curves_of_runs(runs, variable, choice)
    elif isinstance(ds, xr.Dataset):
        hue = hue or "split"
        curves, words = curves_along(ds, variable, hue, choice)
    else:
        raise SchemaMismatch(f"several profiles were given, but hue is {hue!r}: use hue='run', or give one of them")
    return draw(curves, title=heading(variable, words), hue=hue, ax=ax)


def curves_along(ds: xr.Dataset, name: str, hue: str, choice: Choice) -> tuple[list[Curve], list[str]]:
    """Return a curve for every label of the dim `hue`; a single one if the variable does not depend on it."""
    array, words = choose(values_of(ds, name), choice, keep=(hue,))
    # Bands and chance are taken at the same target and split as the variable.
    chosen_labels = {
        dim: str(array[dim].values) for dim in ("split", "target") if dim in array.coords and not array[dim].ndim
    }
    choice = Choice(chosen_labels.get("split", choice.split), chosen_labels.get("target", choice.target), choice.epoch)
    edges, meaning = edges_around(ds, name)
    chance_names = [f"{name}{suffix}" for suffix in CHANCE]
    with_chance = hue != "epoch" and all(chance_name in ds for chance_name in chance_names)

    def chosen(source: xr.Dataset, names: Iterable[Hashable]) -> list[xr.DataArray]:
        return [choose(values_of(source, str(name)), choice, keep=(hue,))[0] for name in names]

    ends, chance = chosen(edges, edges), chosen(ds, chance_names if with_chance else [])
    curves, notes = [], []
    for place, label in enumerate(array[hue].values if hue in array.dims else [""]):

        def at_label(values: xr.DataArray, place: int = place) -> xr.DataArray:
            return values.isel({hue: place}) if hue in values.dims else values

        curve, note = with_band(str(label), at_label(array), list(map(at_label, ends)), meaning)
        if with_chance:
            curve = curve._replace(chance=Chance(*(over_seeds(at_label(values))[0] for values in chance)))
            note = [*note, "dotted: by chance"]
        curves.append(curve)
        notes += note
    return curves, [*words, *notes]


def curves_of_runs(runs: Mapping[str, xr.Dataset], name: str, choice: Choice) -> tuple[list[Curve], list[str]]:
    """Return a curve for every run; where runs differ in split or epoch, their names say so."""
    run_curves = {run: curves_along(ds, name, "run", choice) for run, ds in runs.items()}
    shared, labels = common_words({run: words for run, (_, words) in run_curves.items()})
    curves = [curve._replace(label=label) for label, ([curve], _) in zip(labels, run_curves.values(), strict=True)]
    return curves, shared


def edges_around(ds: xr.Dataset, name: str) -> tuple[xr.Dataset, str]:
    """Return the edges of the band around a variable, and its meaning; both empty where the variable has no error."""
    if name in with_interval(ds):
        return interval(ds, name), "95% interval"
    if (error := f"{name}_se") not in ds:
        return xr.Dataset(), ""
    return xr.Dataset({"low": ds[name] - ds[error], "high": ds[name] + ds[error]}), "± 1 standard error"


def with_band(label: str, array: xr.DataArray, ends: Sequence[xr.DataArray], meaning: str) -> tuple[Curve, list[str]]:
    """Return the median and range over seeds, or the value between the ends of its band; and words for the band."""
    if array.sizes.get("seed", 1) > 1:
        middle = array.median("seed", keep_attrs=True)
        expect(middle, "layer")
        note = f"median and range of {array.sizes['seed']} seeds"
        return Curve(label, middle, array.min("seed"), array.max("seed")), [note]
    array = array.squeeze("seed") if "seed" in array.dims else array
    expect(array, "layer")
    if not ends:
        return Curve(label, array, None, None), []
    low, high = (end.squeeze("seed") if "seed" in end.dims else end for end in ends)
    return Curve(label, array, low, high), [meaning]


def draw(curves: Sequence[Curve], *, title: str, hue: str, ax: Axes | None) -> Axes:
    """Draw the curves and their bands, and label the axes."""
    names = common_layers([curve.values for curve in curves])
    if names is not None and len(names) > NAMED_LAYERS:
        names = None
    ax, height = axes_or_new(ax, 3.5 if names is None else max(3.0, 0.3 * len(names)), 2.4)
    handles = draw_lines(ax, curves, hue, over_depth=names is None)
    scale_values(ax, curves)
    if any(curve.label for curve in curves):
        list_curves(ax, handles, hue)
    ax.set_title(title, fontsize="medium", loc="left")
    ax.set_xlabel(DEPTH_LABEL, fontsize=SMALL)
    ax.set_ylabel(wrapped(describe(curves[0].values), points(ax, height)[1]), fontsize=SMALL)
    ax.tick_params(labelsize=SMALL)
    sns.despine(ax=ax)
    if names is not None:
        fit(ax)
        label_layers(ax, names)
    fit(ax, height)
    return ax


def draw_lines(ax: Axes, curves: Sequence[Curve], hue: str, *, over_depth: bool) -> list[Line2D]:
    """Draw lines and bands; epochs are an ordered scale of colour, other lines differ in markers and dashes too."""
    if hue == "epoch":
        colours = sns.color_palette("viridis", len(curves))
    else:
        colours = sns.color_palette("colorblind" if len(curves) <= 10 else "husl", len(curves))
    handles = []
    for i, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
        x = curve.values["depth"].values if over_depth else np.arange(curve.values.size)
        if curve.low is not None and curve.high is not None:
            ax.fill_between(x, curve.low.values, curve.high.values, color=colour, alpha=0.2, linewidth=0)
        if curve.chance is not None:
            mean, low, high = (values.values for values in curve.chance)
            ax.fill_between(x, low, high, color=colour, alpha=0.08, linewidth=0)
            ax.plot(x, mean, color=colour, linestyle=":", linewidth=0.8, label=f"_chance of {curve.label}")
        [line] = ax.plot(x, curve.values.values, color=colour, label=curve.label)
        line.set_linewidth(1.5 if len(curves) <= LISTED_EPOCHS else 0.8)
        if hue != "epoch":
            line.set(marker=MARKERS[i % len(MARKERS)], linestyle=DASHES[i % len(DASHES)])
        elif len(curves) <= LISTED_EPOCHS:
            line.set_marker("o")
        line.set(markersize=5.0, markeredgecolor="white", markeredgewidth=0.5)
        line.set_markevery(max(1, math.ceil(curve.values.size / NAMED_LAYERS)))
        handles.append(line)
    return handles


def scale_values(ax: Axes, curves: Sequence[Curve]) -> None:
    """Scale the y axis to the lines, and to their bands within limits (see `scale_axis`)."""
    means = [curve.chance.mean.values for curve in curves if curve.chance is not None]
    lines = np.concatenate([*(curve.values.values for curve in curves), *means])
    if not finite(lines).size:
        ax.text(0.5, 0.5, BLANK, transform=ax.transAxes, ha="center", color="0.4", fontsize=SMALL)
        ax.set_yticks([])
    bands = [(curve.low, curve.high, *(curve.chance or ())) for curve in curves]
    edges = [edge.values for band in bands for edge in band if edge is not None]
    band = np.concatenate(edges) if edges else ()
    scale_axis(ax, "y", lines, band, logarithms=is_logarithm(curves[0].values))


def list_curves(ax: Axes, handles: Sequence[Line2D], hue: str) -> None:
    """Draw the legend: inside the Axes while it is short; with only some of many epochs."""
    if hue == "epoch":
        handles = handles[:: next(step for step in STEPS if len(handles) <= LISTED_EPOCHS * step)]
    outside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if len(handles) > 4 else {"loc": "best"}
    title = None if hue == "split" else hue
    ax.legend(handles=handles, title=title, title_fontsize=SMALL, fontsize=SMALL, frameon=False, **outside)
