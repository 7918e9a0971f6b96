"""The rows of a heatmap over depth: variables, or the splits of one variable."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from layerwise.errors import UnknownName
from layerwise.plot._cells import Row
from layerwise.plot._choose import ARROWS, Choice, choose, expect, metrics_of, over_seeds, values_of

__all__ = ["rows_of_splits", "rows_of_variables"]


def rows_of_variables(ds: xr.Dataset, names: Sequence[str], choice: Choice) -> tuple[list[Row], list[str]]:
    """Return a row for each variable, with an arrow towards collapse, and the words for the choice."""
    rows: list[Row] = []
    words: list[str] = []
    for name in names:
        array, seeds = over_seeds(values_of(ds, name))
        array, chosen = choose(array, choice)
        expect(array, "layer")
        arrow = ARROWS.get(array.attrs.get("direction", "none"), "")
        rows.append((f"{name} {arrow}".strip(), array))
        words += [*chosen, *seeds]
    if not rows:
        raise UnknownName("metric", "", metrics_of(ds))
    return rows, list(dict.fromkeys(words))


def rows_of_splits(ds: xr.Dataset, name: str, choice: Choice) -> tuple[list[Row], list[str]]:
    """Return a row for each split of one variable, or the chosen one, and the words for the rest of the choice."""
    array, seeds = over_seeds(values_of(ds, name))
    array, words = choose(array, choice, keep=("split",))
    if "split" not in array.dims:
        array = array.expand_dims(split=[""])
    expect(array, "split", "layer")
    return [(str(label), array.isel(split=i)) for i, label in enumerate(array["split"].values)], [*words, *seeds]
