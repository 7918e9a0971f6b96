"""A heatmap of variables, splits or runs over depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr
from matplotlib.axes import Axes

from layerwise.arguments import checked, optional
from layerwise.derive.pooling import poolings
from layerwise.errors import UnknownName
from layerwise.plot._arguments import ARGUMENTS, PROFILES, VARIABLES
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
from layerwise.plot._docstrings import documented
from layerwise.plot._rows import rows_of_splits, rows_of_variables

__all__ = ["depth_heatmap"]


@checked(ARGUMENTS, ds=PROFILES, variable=optional(VARIABLES))
@documented
def depth_heatmap(
    ds: Profiles,
    variable: str | Sequence[str] | None = None,
    *,
    split: str | None = None,
    target: str | None = None,
    epoch: int = -1,
    ax: Axes | None = None,
) -> Axes:
    """Draw a profile as a heatmap, its layers in execution order from left to right.

    Several variables are the rows of one picture, each with colours of its own: the range is to the right of a row, an
    arrow next to its name shows which way is collapse. With one variable the rows are the splits; with one variable of
    several runs they are the runs. The title names the pooling of the layers where it is one for all; otherwise the
    label below the layers does. Scales are logarithmic where values span a decade or more; cells without a finite
    value are hatched.

    Parameters
    ----------
    ds : Dataset, or mapping of str to Dataset
        A profile. Several runs come as a mapping from their names, or along the dim ``run`` or ``seed``. If their
        layers differ, they are drawn over depth, and every place shows the layer nearest to it.
    variable : str or sequence of str, optional
        All variables with one value a layer by default. Several show the median over seeds.
    split, target : str, optional
        ``train`` if there is one by default, else the first; with a single variable of one run, all splits.
    %(epoch)s
    %(ax)s

    %(axes)s

    Raises
    ------
    UnknownName
        If there is no such variable, split, target or epoch, if a variable is per class, or if several variables of
        several runs are asked for.
    """
    choice = Choice(split, target, epoch)
    names = [variable] if isinstance(variable, str) else None if variable is None else list(variable)
    single = names is not None and len(names) == 1
    runs = by_run(ds, ("run", "seed") if single else ("run",))
    if runs is not None:
        return heatmap_of_runs(runs, names, choice, ax)
    assert isinstance(ds, xr.Dataset)
    if names and single:
        rows, words = rows_of_splits(ds, names[0], choice)
        words += pooling_words(rows[0][1])
        return heatmap(rows, title=heading(names[0], words), key=describe(rows[0][1]), ax=ax)
    rows, words = rows_of_variables(ds, metrics_of(ds) if names is None else names, choice)
    return heatmap(rows, title=", ".join([*words, *pooling_words(rows[0][1])]), key=None, ax=ax)


def heatmap_of_runs(
    runs: Mapping[str, xr.Dataset], names: Sequence[str] | None, choice: Choice, ax: Axes | None
) -> Axes:
    """Draw one variable with a row for each run."""
    if names is None or len(names) != 1:
        available = dict.fromkeys(name for ds in runs.values() for name in metrics_of(ds))
        raise UnknownName("single metric", ", ".join(names or ["all"]), available, "Rows are runs: name one metric")
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
