"""Metrics, splits or runs over depth, as cells of colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr
from matplotlib.axes import Axes

from layerwise.arguments import checked, optional
from layerwise.derive.pooling import poolings
from layerwise.errors import UnknownName
from layerwise.plot._arguments import ARGUMENTS, METRICS, PROFILES
from layerwise.plot._cells import heatmap
from layerwise.plot._choose import (
    Choice,
    Profiles,
    by_run,
    choose,
    common_words,
    describe,
    expect,
    heading,
    metrics_of,
    over_seeds,
    pooling_words,
    values_of,
)
from layerwise.plot._rows import rows_of_metrics, rows_of_splits

__all__ = ["depth_heatmap"]


@checked(ARGUMENTS, ds=PROFILES, metrics=optional(METRICS))
def depth_heatmap(
    ds: Profiles,
    metrics: str | Sequence[str] | None = None,
    *,
    split: str | None = None,
    target: str | None = None,
    epoch: int = -1,
    ax: Axes | None = None,
) -> Axes:
    """Draw a profile as a heatmap, its layers in execution order from left to right.

    With several metrics each is a row with colours of its own: its range stands to the right, an arrow beside its
    name tells which way is collapse. With one metric the rows are the splits; with one metric of several runs they
    are the runs. How layers are pooled is in the title where it is one way, else below the layers. Scales are
    logarithmic where values span a decade or more; cells without a finite value are hatched.

    Parameters
    ----------
    ds : Dataset, or mapping of str to Dataset
        A profile. Several runs come as a mapping from their names, or along the dim ``run`` or ``seed``; if their
        layers differ, they are laid over their common depth, every place showing the layer nearest to it.
    metrics : str or sequence of str, optional
        All metrics with one value a layer by default. Of several metrics the median over seeds is shown.
    split, target : str, optional
        ``train`` if there is one by default, else the first; with a single metric of one run, all splits.
    epoch : int
        The epoch's label; negative numbers count from the last.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        What was drawn on.

    Raises
    ------
    UnknownName
        If there is no such metric, split, target or epoch, if a metric is per class, or if several metrics
        of several runs are asked for.
    """
    choice = Choice(split, target, epoch)
    names = [metrics] if isinstance(metrics, str) else None if metrics is None else list(metrics)
    single = names is not None and len(names) == 1
    runs = by_run(ds, ("run", "seed") if single else ("run",))
    if runs is not None:
        return of_runs(runs, names, choice, ax)
    assert isinstance(ds, xr.Dataset)
    if names and single:
        rows, words = rows_of_splits(ds, names[0], choice)
        words += pooling_words(rows[0][1])
        return heatmap(rows, title=heading(names[0], words), key=describe(rows[0][1]), ax=ax)
    rows, words = rows_of_metrics(ds, metrics_of(ds) if names is None else names, choice)
    return heatmap(rows, title=", ".join([*words, *pooling_words(rows[0][1])]), key=None, ax=ax)


def of_runs(runs: Mapping[str, xr.Dataset], names: Sequence[str] | None, choice: Choice, ax: Axes | None) -> Axes:
    """Rows are the runs, of one metric."""
    if names is None or len(names) != 1:
        there = dict.fromkeys(name for ds in runs.values() for name in metrics_of(ds))
        raise UnknownName("single metric", ", ".join(names or ["all"]), there, "Rows are runs: name one metric")
    arrays, words = [], {}
    for run, ds in runs.items():
        array, seeds = over_seeds(values_of(ds, names[0]))
        array, chosen = choose(array, choice)
        expect(array, "layer")
        arrays.append(array)
        pooling = "/".join(poolings(array))
        words[run] = [*chosen, *seeds, *([f"{pooling} pooling"] if pooling else [])]
    shared, labels = common_words(words)
    rows = list(zip(labels, arrays, strict=True))
    return heatmap(rows, title=heading(names[0], shared), key=describe(arrays[0]), ax=ax)
