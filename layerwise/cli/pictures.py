"""Runs of a store as pictures in files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from layerwise import plot
from layerwise.cli.tables import compared_metrics, compared_on, comparison_table
from layerwise.errors import InvalidData, UnknownName
from layerwise.metrics import list_metrics
from layerwise.plot._choose import metrics_of
from layerwise.store import open_store

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from layerwise.profiling.ranking import Ranking

__all__ = ["KINDS", "compare_runs", "draw", "draw_ranking", "draw_similarity"]

#: The kinds of picture by name, and the function that draws each.
KINDS: dict[str, Callable[..., Axes | np.ndarray]] = {
    "depth": plot.depth_heatmap,
    "epoch": plot.epoch_heatmap,
    "curve": plot.depth_curve,
    "class": plot.class_heatmap,
    "phase": plot.phase_plot,
}


def draw(
    store: str, run: str, metrics: Sequence[str], *, kind: str = "depth", split: str | None = None, path: Path
) -> None:
    """Draw a run and save the picture.

    Raises
    ------
    UnknownName
        If there is no such kind, run or metric.
    InvalidData
        If the picture cannot be written.
    """
    if kind not in KINDS:
        raise UnknownName("kind of picture", kind, KINDS)
    ds = open_store(store, create=False)[run]
    _use_no_display()
    options = {"error": "network_mse"} if kind == "phase" and "network_error" not in ds and "network_mse" in ds else {}
    names = list(metrics) or _default_metrics(ds, kind)
    variable = {"variable": names if len(names) > 1 else names[0]} if names else {}
    _save(KINDS[kind](ds, **variable, split=split, **options), path)


def _default_metrics(ds: xr.Dataset, kind: str) -> list[str]:
    """Return what a picture shows where no metric was asked for; empty for the default of the plot."""
    if kind == "depth":
        # A store has metrics in alphabetical order; in that of the registry NC1 to NC4 follow one another.
        order = list_metrics()
        return sorted(metrics_of(ds), key=lambda name: order.index(name) if name in order else len(order))
    return ["nrc1"] if kind != "class" and "nc1" not in ds and "nrc1" in ds else []


def compare_runs(
    store: str,
    first: str,
    second: str,
    metrics: Sequence[str] = (),
    *,
    split: str | None = None,
    target: str | None = None,
    strict: bool = False,
    path: Path,
) -> str:
    """Compare the last epochs of two runs: the numbers as text, a picture of both and their difference in a file.

    Parameters
    ----------
    store, first, second : str
        A store, and two of its runs.
    metrics : sequence of str
        By default those of `layerwise.cli.tables.COMPARED` that both have.
    split, target : str, optional
        In the tables all that both have; in the picture ``train`` if there is one, else the first.
    strict : bool
        Whether to refuse runs that differ in anything but their networks.
    path : Path
        Where the picture goes.

    Returns
    -------
    str
        A line on what is compared and what else differs, then a table for each split, a row a layer.

    Raises
    ------
    UnknownName
        If there is no such run, metric, split or target.
    InvalidData
        If the runs have nothing in common or unlike targets, if `strict` and anything but the networks differs, or the
        picture cannot be written.
    """
    opened = open_store(store, create=False)
    a, b = opened[first], opened[second]
    splits = [str(name) for name in a["split"].values if name in b["split"].values] if split is None else [split]
    if not splits:
        raise InvalidData(f"{first} and {second} have no split in common")
    comparison = compared_on(a, b, strict=strict)
    tables = [f"{name}\n{comparison_table(a, b, name, metrics, target)}" for name in splits]
    _use_no_display()
    names = list(metrics) or compared_metrics(a, b)
    _save(plot.compare_heatmap(a, b, names, names=(first, second), split=split, target=target), path)
    return "\n\n".join([f"a: {first}, b: {second}; {comparison}", *tables])


def draw_similarity(ds: xr.Dataset, path: Path) -> None:
    """Draw the similarity of layers and save the picture, or the numbers where the file is NetCDF.

    Raises
    ------
    InvalidData
        If the file cannot be written.
    """
    if path.suffix == ".nc":
        try:
            ds.to_netcdf(path, engine="h5netcdf")
        except OSError as error:
            raise InvalidData(f"{path} cannot be written: {error}") from error
        return
    _use_no_display()
    _save(plot.similarity_heatmap(ds), path)


def draw_ranking(ranking: Ranking, path: Path) -> None:
    """Draw the metric of a ranking, network by depth, and save the picture."""
    _use_no_display()
    _save(plot.depth_heatmap(ranking.profiles, ranking.by, split=ranking.held_out), path)


def _use_no_display() -> None:
    import matplotlib

    matplotlib.use("Agg")


def _save(axes: Axes | np.ndarray, path: Path) -> None:
    figure = np.ravel(np.array(axes, dtype=object))[0].figure.canvas.figure
    try:
        figure.savefig(path, dpi=200, bbox_inches="tight")
    except (OSError, ValueError) as error:
        raise InvalidData(f"the picture cannot be written to {path}: {error}") from error
