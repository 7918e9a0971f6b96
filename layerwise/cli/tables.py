"""Profiles as text: a row a layer, for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from layerwise.derive import align, differences_text, effective_depth, pooled_layers
from layerwise.errors import InvalidData, UnknownName, escaped
from layerwise.metrics import get, list_metrics
from layerwise.metrics.bibliography import works_of
from layerwise.runtime.table_cells import depth_cell, number_cell
from layerwise.schema import is_companion

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COMPARED",
    "SHOWN",
    "compared_metrics",
    "compared_on",
    "comparison_frame",
    "comparison_table",
    "metric_rows",
    "metric_table",
    "profile_frame",
    "profile_table",
    "summary",
]

#: The metrics that a table shows, where they were measured.
SHOWN = (
    *("nc1", "cdnv", "ncc_error", "ncc_mismatch", "probe_error"),
    *("nrc1", "nrc2", "nrc2_cka", "nrc3", "nrc3_alignment", "linear_r2", "target_rank"),
    "geometric_complexity",
)

#: The metrics that a table of two profiles shows, where both have them.
COMPARED = ("nc1", "ncc_error", "probe_error", "nrc1", "nrc2_cka", "linear_r2")


def profile_frame(
    ds: xr.Dataset, split: str, target: str | None = None, metrics: Sequence[str] = SHOWN
) -> pd.DataFrame:
    """Return the last epoch of one split as a frame: a row a layer, with its depth and its metrics.

    By default the metrics are those of `SHOWN` that were measured, or all if none of them was. A metric's standard
    error follows it, where there is one. With several targets, and none chosen, there is a row for each target and
    layer.
    """
    chosen = _one_split(ds, split, target)
    available = _over_layers(chosen)
    names = [name for name in metrics if name in available]
    if not names and metrics is SHOWN:
        names = [name for name in available if not is_companion(name, available)]
    columns = dict.fromkeys(column for name in names for column in (name, f"{name}_se") if column in available)
    return _frame(chosen, list(columns))


def profile_table(ds: xr.Dataset, split: str, metrics: Sequence[str] = SHOWN, target: str | None = None) -> str:
    """Return `profile_frame` as text, ``value ± standard error``; with several targets their names come first.

    Where layers are not all pooled in one way, a column names the pooling of each.
    """
    pooled = pooled_layers(ds)
    words = [pooled.get(str(layer), "") for layer in ds["layer"].values]
    return _text(profile_frame(ds, split, target, metrics), {"pooling": words} if len(set(pooled.values())) > 1 else {})


def comparison_frame(
    a: xr.Dataset, b: xr.Dataset, split: str, metrics: Sequence[str] = (), target: str | None = None
) -> pd.DataFrame:
    """Return the last epochs of two profiles side by side: a column of each metric for both, and the difference.

    The difference is the second less the first. Where both have standard errors, each column is followed by its error
    (``a_se``); the error of the difference is ``sqrt(a_se^2 + b_se^2)``, that of independent samples: it is too wide
    where both profiles are of the same samples. Rows are the layers that both have, under their names in the first, or
    else places of the same depth (`layerwise.derive.align`); with several targets, and none chosen, there is a row for
    each target and layer.

    Parameters
    ----------
    a, b : Dataset
        Profiles.
    split : str
        A split of both.
    metrics : sequence of str
        By default those of `COMPARED` that both have.
    target : str, optional
        A target of both; all of them by default.

    Returns
    -------
    DataFrame
        Columns are pairs of a metric and ``a``, ``b`` or ``b - a``, with ``_se`` for an error.

    Raises
    ------
    UnknownName
        If one of the profiles has no such metric with one value a layer, or no such split or target.
    InvalidData
        If they have nothing in common.
    """
    import pandas as pd

    available = [name for name in _over_layers(a) if name in _over_layers(b)]
    names = list(metrics) or compared_metrics(a, b)
    for name in names:
        if name not in available:
            raise UnknownName("metric of both profiles with one value a layer", name, available)
    if not names:
        raise InvalidData("the profiles have no metric in common that has one value a layer")
    pair = [_one_split(ds, split, target) for ds in align(_last_epoch(a), _last_epoch(b))]
    with_errors = [*names, *(f"{name}_se" for name in names if f"{name}_se" in available)]
    first, second = (_frame(ds, with_errors) for ds in pair)
    columns = {("", "depth"): first["depth"]}
    for name in names:
        difference = second[name] - first[name]
        values = {"a": first[name], "b": second[name], "b - a": difference}
        if (error := f"{name}_se") in with_errors:
            values = {"a": first[name], "a_se": first[error], "b": second[name], "b_se": second[error]}
            values |= {"b - a": difference, "b - a_se": (first[error] ** 2 + second[error] ** 2) ** 0.5}
        columns |= {(name, side): value for side, value in values.items()}
    return pd.DataFrame(columns)


def compared_metrics(a: xr.Dataset, b: xr.Dataset) -> list[str]:
    """Return the metrics of `COMPARED` that both profiles have, or else the first few that both have."""
    available = [name for name in _over_layers(a) if name in _over_layers(b)]
    return [name for name in COMPARED if name in available] or available[:3]


def compared_on(a: xr.Dataset, b: xr.Dataset, *, strict: bool = False) -> str:
    """Return one line: whether layers or depths are compared, layers of only one profile, and other differences.

    Raises
    ------
    InvalidData
        If `strict`, and the profiles differ in anything but their networks.
    """
    attributes = align(_last_epoch(a), _last_epoch(b), strict=strict)[0].attrs
    left_out = json.loads(attributes.get("left_out", "{}"))
    parts = [
        f"only in {name}: {', '.join(layers)}" for name, layers in zip("ab", left_out.values(), strict=False) if layers
    ]
    if "differs" in attributes:
        parts.append(f"a and b differ in {differences_text(json.loads(attributes['differs']))}")
    return "; ".join([f"compared on {attributes['compared_on']}", *parts])


def comparison_table(
    a: xr.Dataset, b: xr.Dataset, split: str, metrics: Sequence[str] = (), target: str | None = None
) -> str:
    """Return `comparison_frame` as text, ``value ± standard error``.

    Where layers are not all pooled in one way, or not as in the other profile, columns name the pooling of each.
    """
    return _text(comparison_frame(a, b, split, metrics, target), _pooling_of_both(a, b))


def _pooling_of_both(a: xr.Dataset, b: xr.Dataset) -> dict[tuple[str, str], list[str]]:
    """Return the pooling of each layer in both profiles; empty if it is one for all, or depths are compared."""
    aligned = align(_last_epoch(a), _last_epoch(b))[0]
    if "other_reduction" not in aligned.coords:
        return {}
    pooled = pooled_layers(aligned)
    others = zip(aligned["layer"].values, aligned["other_reduction"].values, strict=True)
    second = {str(layer): str(word) for layer, word in others if str(layer) in pooled}
    if len({*pooled.values(), *second.values()}) < 2:
        return {}
    layers = [str(layer) for layer in aligned["layer"].values]
    sides = {"a": pooled, "b": second}
    return {("pooling", side): [words.get(layer, "") for layer in layers] for side, words in sides.items()}


def metric_rows(pattern: str = "*") -> list[dict[str, str | int]]:
    """Return a row with the registry's entry for each metric that matches a name or a glob.

    Raises
    ------
    UnknownName
        If no metric matches.
    """
    return [
        {
            "name": item.name,
            "long_name": item.variable.long_name,
            "direction": item.variable.direction,
            "dims": ", ".join(item.variable.dims),
            "passes": item.passes,
            "source": item.variable.reference,
            "papers": ", ".join(work.identifier for work in works_of(item.variable.reference)),
        }
        for item in map(get, list_metrics(pattern) or [pattern])
    ]


def metric_table(pattern: str = "*") -> str:
    """`metric_rows` as text, without ``papers`` and the dim ``epoch``, which all have."""
    rows = [{name: str(value) for name, value in row.items() if name != "papers"} for row in metric_rows(pattern)]
    titles = {name: name.replace("_", " ") for name in rows[0]}
    shown = [titles, *({**row, "dims": row["dims"].removeprefix("epoch, ")} for row in rows)]
    widths = {name: max(len(row[name]) for row in shown) for name in titles}
    return "\n".join("  ".join(row[name].ljust(widths[name]) for name in titles).rstrip() for row in shown)


def summary(ds: xr.Dataset, eps: float = 0.02) -> str:
    """Summarise the training samples in a line for each target.

    With classes, it is the effective depth, from which on the nearest class mean is right; with regression, the number
    of directions that the target and the last features fill.
    """
    split = "train" if "train" in ds["split"].values else str(ds["split"].values[0])
    chosen = _one_split(ds, split, None)
    targets = [str(name) for name in chosen["target"].values] if "target" in chosen.dims else [""]
    lines = []
    for place, name in enumerate(targets):
        profile = chosen.isel(target=place) if name else chosen
        label = f" ({name})" if name else ""
        if "ncc_error" in ds and profile["ncc_error"].notnull().any():
            lines.append(f"effective depth{label}: {_effective_depth(profile, eps, split)}")
        if {"target_rank", "target_dimensions"} <= set(ds) and profile["target_dimensions"].notnull():
            lines.append(f"regression{label}: {_directions(profile, split)}")
    return "\n".join(lines)


def _directions(ds: xr.Dataset, split: str) -> str:
    inner = np.flatnonzero(ds["role"] != "logits") if "role" in ds.coords else np.arange(ds.sizes["layer"])
    last = ds["target_rank"][int(inner[-1]) if len(inner) else -1]
    share = f"99% of the variance over the {split} samples"
    target = f"{int(ds['target_dimensions'])} of the target's directions"
    return f"{share} lies in {target} and in {int(last)} of {int(last['features'])} of {last['layer'].item()}"


def _effective_depth(ds: xr.Dataset, eps: float, split: str) -> str:
    depth = effective_depth(ds, eps)
    share = f"{eps:.0%} of the {split} samples"
    wrong = "the nearest class mean is wrong for"
    if np.isnan(depth):
        last_error = float(ds["ncc_error"].dropna("layer")[-1])
        return f"none; {wrong} more than {share} in the last layer ({last_error:.1%})"
    name, last = str(depth["effective_layer"].values), ds.sizes["layer"] - 1
    return f"{int(depth)} of {last} ({name}): from there on {wrong} at most {share}"


def _one_split(ds: xr.Dataset, split: str, target: str | None) -> xr.Dataset:
    """Select the last epoch, a split, and the target that was asked for, or the only one."""
    chosen = _last_epoch(ds).squeeze("epoch") if "epoch" in ds.dims else ds
    for dim, label in (("split", split), ("target", target)):
        if dim not in ds.dims:
            continue
        labels = [str(name) for name in ds[dim].values]
        if label is None and len(labels) > 1:
            continue
        if label is not None and label not in labels:
            raise UnknownName(dim, label, labels)
        chosen = chosen.isel({dim: 0 if label is None else labels.index(label)})
    return chosen


def _last_epoch(ds: xr.Dataset) -> xr.Dataset:
    return ds.isel(epoch=[-1]) if "epoch" in ds.dims else ds


def _over_layers(ds: xr.Dataset) -> list[str]:
    """Return the variables with one value a layer."""
    return [str(name) for name, array in ds.data_vars.items() if "layer" in array.dims and "class" not in array.dims]


def _frame(ds: xr.Dataset, names: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    if not names:
        return pd.DataFrame({"depth": ds["depth"].values}, index=pd.Index(ds["layer"].values, name="layer"))
    dims = [dim for dim in ("target", "layer") if dim in ds.dims]
    frame: pd.DataFrame = ds[list(names)].to_dataframe(dim_order=dims)
    return frame[["depth", *names]]


def _text(frame: pd.DataFrame, words: Mapping[Any, Sequence[str]]) -> str:
    """Return numbers as text, each with its standard error, where there is one, in the same column.

    Columns of `words` have an entry a layer; with several targets they are repeated.
    """
    columns = list(frame.columns)
    errors = {_error_of(column) for column in columns} & set(columns)
    shown: dict[Any, Sequence[str]] = {}
    for column in columns:
        form = depth_cell if "depth" in (column, column[-1]) else number_cell
        if column not in errors:
            error = _error_of(column)
            texts = list(map(form, frame[column]))
            shown[column] = _with_errors(texts, frame[error]) if error in errors else texts
    shown |= {name: [*entries] * (len(frame) // max(len(entries), 1)) for name, entries in words.items()}
    text: str = type(frame)(shown, index=frame.index).rename(index=_label).to_string(index_names=False)
    return text


def _label(name: object) -> str:
    return escaped(str(name))


def _error_of(column: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Return the name of the column with the standard error of a column."""
    return f"{column}_se" if isinstance(column, str) else (*column[:-1], f"{column[-1]}_se")


def _with_errors(values: Iterable[str], errors: Iterable[float]) -> list[str]:
    """Values with what their standard errors say behind them, one below the other."""
    said = ["" if np.isnan(error) else f" ± {error:.2g}" for error in errors]
    return [value + error.ljust(max(map(len, said))) for value, error in zip(values, said, strict=True)]
