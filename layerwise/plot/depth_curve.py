"""One metric over depth, one line for each split, run, epoch or target."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from layerwise.arguments import checked, choice, optional
from layerwise.derive.interval import interval, with_interval
from layerwise.errors import SchemaMismatch
from layerwise.plot._arguments import ARGUMENTS, PROFILES
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
from layerwise.plot._scales import BLANK, finite, is_logarithm, scale_axis
from layerwise.schema import CHANCE

__all__ = ["depth_curve"]

Hue = Literal["split", "run", "epoch", "target"]

# Lines are told apart without colour too.
MARKERS = "osD^vPX*<>"
DASHES = ("-", "--", "-.", ":")

# More epochs than this are not all listed, nor their layers marked.
LISTED_EPOCHS = 8


class Chance(NamedTuple):
    """What shuffled labels give: the mean, and the edges of the band that holds 95%."""

    mean: xr.DataArray
    low: xr.DataArray
    high: xr.DataArray


class Curve(NamedTuple):
    """A line, the edges of the band around it, and what chance gives, each with the dim ``(layer,)``."""

    label: str
    values: xr.DataArray
    low: xr.DataArray | None
    high: xr.DataArray | None
    chance: Chance | None = None


@checked(ARGUMENTS, ds=PROFILES, hue=optional(choice("hue", get_args(Hue))))
def depth_curve(
    ds: Profiles,
    metric: str,
    *,
    hue: Hue | None = None,
    split: str | None = None,
    target: str | None = None,
    epoch: int = -1,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric over depth, one line for each split, run, epoch or target.

    Up to 24 layers are named on the x axis if the lines share them, otherwise it is depth. The y axis is logarithmic
    where the values span a decade or more. Over several seeds the line is the median and the band the whole range;
    otherwise, of a profile with ``jackknife``, the 95% interval (`layerwise.derive.interval`); of a standard error
    ``<metric>_se`` that is not of samples, one to either side. Where there is
    ``<metric>_null``, and epochs are not the lines, a dotted line with a pale band of the same colour is the mean under
    shuffled labels and what holds 95% of them.

    Parameters
    ----------
    ds : Dataset, or mapping of str to Dataset
        A profile. Several runs come as a mapping from their names, or along the dim ``run``.
    metric : str
        A variable with one value a layer.
    hue : {"split", "run", "epoch", "target"}, optional
        What the lines are: ``run`` by default if there are several, else ``split``. With ``run`` and no runs,
        each seed is a line.
    split, target : str, optional
        ``train`` if there is one by default, else the first; all of them where they are the lines.
    epoch : int
        The epoch's label; negative numbers count from the last. Of no effect where epochs are the lines.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        What was drawn on.

    Raises
    ------
    UnknownName
        If there is no such metric, hue, split, target or epoch, or the metric is per class.
    SchemaMismatch
        If several runs are given and `hue` is something else.
    """
    choice = Choice(split, target, epoch)
    runs = by_run(ds, ("run", "seed") if hue == "run" else ("run",))
    if runs is not None and hue in (None, "run"):
        hue = "run"
        curves, words = curves_of_runs(runs, metric, choice)
    elif isinstance(ds, xr.Dataset):
        hue = hue or "split"
        curves, words = curves_along(ds, metric, hue, choice)
    else:
        raise SchemaMismatch(f"several profiles were given, but hue is {hue!r}: use hue='run', or give one of them")
    return draw(curves, title=heading(metric, words), hue=hue, ax=ax)


def curves_along(ds: xr.Dataset, metric: str, hue: str, choice: Choice) -> tuple[list[Curve], list[str]]:
    """A curve for every label of the dim `hue`; only one if the metric does not depend on it."""
    array, words = choose(values_of(ds, metric), choice, keep=(hue,))
    # What goes with the metric is of the same target and split.
    settled = {
        dim: str(array[dim].values) for dim in ("split", "target") if dim in array.coords and not array[dim].ndim
    }
    choice = Choice(settled.get("split", choice.split), settled.get("target", choice.target), choice.epoch)
    edges, meaning = edges_around(ds, metric)
    by_chance = [f"{metric}{suffix}" for suffix in CHANCE]
    drawn = hue != "epoch" and all(name in ds for name in by_chance)

    def chosen(source: xr.Dataset, names: Iterable[Hashable]) -> list[xr.DataArray]:
        return [choose(values_of(source, str(name)), choice, keep=(hue,))[0] for name in names]

    ends, chance = chosen(edges, edges), chosen(ds, by_chance if drawn else [])
    curves, notes = [], []
    for i, label in enumerate(array[hue].values if hue in array.dims else [""]):

        def own(values: xr.DataArray, place: int = i) -> xr.DataArray:
            return values.isel({hue: place}) if hue in values.dims else values

        curve, note = with_band(str(label), own(array), list(map(own, ends)), meaning)
        if drawn:
            curve = curve._replace(chance=Chance(*(over_seeds(own(values))[0] for values in chance)))
            note = [*note, "dotted: by chance"]
        curves.append(curve)
        notes += note
    return curves, [*words, *notes]


def curves_of_runs(runs: Mapping[str, xr.Dataset], metric: str, choice: Choice) -> tuple[list[Curve], list[str]]:
    """A curve for every run; where runs differ in split or epoch, their names say so."""
    found = {run: curves_along(ds, metric, "run", choice) for run, ds in runs.items()}
    shared, labels = common_words({run: words for run, (_, words) in found.items()})
    curves = [curve._replace(label=label) for label, ([curve], _) in zip(labels, found.values(), strict=True)]
    return curves, shared


def edges_around(ds: xr.Dataset, metric: str) -> tuple[xr.Dataset, str]:
    """The edges of the band around a metric, and what it is; nothing where the metric has no error."""
    if metric in with_interval(ds):
        return interval(ds, metric), "95% interval"
    if (error := f"{metric}_se") not in ds:
        return xr.Dataset(), ""
    return xr.Dataset({"low": ds[metric] - ds[error], "high": ds[metric] + ds[error]}), "± 1 standard error"


def with_band(label: str, array: xr.DataArray, ends: Sequence[xr.DataArray], meaning: str) -> tuple[Curve, list[str]]:
    """The median and range over seeds, or the value between the ends of its band."""
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
    """Draw the curves, their bands, and what the axes need."""
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
    """Draw lines and bands; epochs are an ordered scale of colour, all else has markers and dashes of its own."""
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
    """Scale the y axis to the lines, and to their bands as far as they do not rule it."""
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
    """The legend: inside while it is short; of many epochs only some."""
    if hue == "epoch":
        handles = handles[:: next(step for step in STEPS if len(handles) <= LISTED_EPOCHS * step)]
    outside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if len(handles) > 4 else {"loc": "best"}
    title = None if hue == "split" else hue
    ax.legend(handles=handles, title=title, title_fontsize=SMALL, fontsize=SMALL, frameon=False, **outside)
