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
    """The last epoch of one split as a frame: a row a layer, with its depth and the metrics that there are.

    By default the metrics of `SHOWN` that were measured, or all where none of them was. A metric's standard error
    stands beside it, where there is one. With several targets, and none chosen, there is a row for each target and
    layer.
    """
    chosen = _one_split(ds, split, target)
    there = _over_layers(chosen)
    names = [name for name in metrics if name in there]
    if not names and metrics is SHOWN:
        names = [name for name in there if not is_companion(name, there)]
    both = dict.fromkeys(own for name in names for own in (name, f"{name}_se") if own in there)
    return _frame(chosen, list(both))


def profile_table(ds: xr.Dataset, split: str, metrics: Sequence[str] = SHOWN, target: str | None = None) -> str:
    """`profile_frame` as text, ``value ± standard error``; the names of targets stand in front of several.

    Where layers are not all pooled in one way, a column says how each is.
    """
    pooled = pooled_layers(ds)
    words = [pooled.get(str(layer), "") for layer in ds["layer"].values]
    return _text(profile_frame(ds, split, target, metrics), {"pooling": words} if len(set(pooled.values())) > 1 else {})


def comparison_frame(
    a: xr.Dataset, b: xr.Dataset, split: str, metrics: Sequence[str] = (), target: str | None = None
) -> pd.DataFrame:
    """The last epochs of two profiles side by side: for each metric a column of both, and of the second less the first.

    Where both have standard errors, each column is followed by that of its own (``a_se``); that of the difference is
    ``sqrt(a_se^2 + b_se^2)``, of independent samples: where both profiles are of the same ones it is wide. Rows are the
    layers that both have, under their names in the first, or else places of the same depth (`layerwise.derive.align`);
    with several targets, and none chosen, there is a row for each target and layer.

    Parameters
    ----------
    a, b : Dataset
        Profiles.
    split : str
    metrics : sequence of str
        `COMPARED` by default, as far as both have them.
    target : str, optional

    Raises
    ------
    UnknownName
        If one of the profiles has no such metric with one value a layer, or no such split or target.
    InvalidData
        If they have nothing in common.
    """
    import pandas as pd

    there = [name for name in _over_layers(a) if name in _over_layers(b)]
    names = list(metrics) or compared_metrics(a, b)
    for name in names:
        if name not in there:
            raise UnknownName("metric of both profiles with one value a layer", name, there)
    if not names:
        raise InvalidData("the profiles have no metric in common that has one value a layer")
    pair = [_one_split(ds, split, target) for ds in align(_last_epoch(a), _last_epoch(b))]
    both = [*names, *(f"{name}_se" for name in names if f"{name}_se" in there)]
    one, two = (_frame(ds, both) for ds in pair)
    columns = {("", "depth"): one["depth"]}
    for name in names:
        first, second, difference = one[name], two[name], two[name] - one[name]
        values = {"a": first, "b": second, "b - a": difference}
        if (error := f"{name}_se") in both:
            apart = (one[error] ** 2 + two[error] ** 2) ** 0.5
            values = {"a": first, "a_se": one[error], "b": second, "b_se": two[error]}
            values |= {"b - a": difference, "b - a_se": apart}
        columns |= {(name, side): value for side, value in values.items()}
    return pd.DataFrame(columns)


def compared_metrics(a: xr.Dataset, b: xr.Dataset) -> list[str]:
    """Those of `COMPARED` that both profiles have, or else the first few that both have."""
    there = [name for name in _over_layers(a) if name in _over_layers(b)]
    return [name for name in COMPARED if name in there] or there[:3]


def compared_on(a: xr.Dataset, b: xr.Dataset, *, strict: bool = False) -> str:
    """One line: whether layers are compared or depths, which layers only one profile has, and what else differs.

    Raises
    ------
    InvalidData
        If `strict`, and anything but the networks differs.
    """
    attributes = align(_last_epoch(a), _last_epoch(b), strict=strict)[0].attrs
    alone = json.loads(attributes.get("left_out", "{}"))
    parts = [
        f"only in {name}: {', '.join(layers)}" for name, layers in zip("ab", alone.values(), strict=False) if layers
    ]
    if "differs" in attributes:
        parts.append(f"a and b differ in {differences_text(json.loads(attributes['differs']))}")
    return "; ".join([f"compared on {attributes['compared_on']}", *parts])


def comparison_table(
    a: xr.Dataset, b: xr.Dataset, split: str, metrics: Sequence[str] = (), target: str | None = None
) -> str:
    """`comparison_frame` as text, ``value ± standard error``.

    Where layers are not all pooled in one way, or not as in the other profile, columns say how each is.
    """
    return _text(comparison_frame(a, b, split, metrics, target), _pooling_of_both(a, b))


def _pooling_of_both(a: xr.Dataset, b: xr.Dataset) -> dict[tuple[str, str], list[str]]:
    """How each layer is pooled in both profiles; nothing where all are pooled in one way, or depths are compared."""
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
    """What the registry knows of each metric that matches a name or a glob: a row a metric.

    Raises
    ------
    UnknownName
        If none does.
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
    """What the training samples come to, a line for each target.

    Of classes, from which layer on the nearest class mean is right; of regression, how many directions the target and
    the last features fill.
    """
    split = "train" if "train" in ds["split"].values else str(ds["split"].values[0])
    chosen = _one_split(ds, split, None)
    targets = [str(name) for name in chosen["target"].values] if "target" in chosen.dims else [""]
    of_each = [chosen.isel(target=place) if name else chosen for place, name in enumerate(targets)]
    lines = []
    for name, of_target in zip(targets, of_each, strict=True):
        which = f" ({name})" if name else ""
        if "ncc_error" in ds and of_target["ncc_error"].notnull().any():
            lines.append(f"effective depth{which}: {_effective_depth(of_target, eps, split)}")
        if {"target_rank", "target_dimensions"} <= set(ds) and of_target["target_dimensions"].notnull():
            lines.append(f"regression{which}: {_directions(of_target, split)}")
    return "\n".join(lines)


def _directions(ds: xr.Dataset, split: str) -> str:
    inner = np.flatnonzero(ds["role"] != "logits") if "role" in ds.coords else np.arange(ds.sizes["layer"])
    last = ds["target_rank"][int(inner[-1]) if len(inner) else -1]
    share = f"99% of the variance over the {split} samples"
    target = f"{int(ds['target_dimensions'])} of the target's directions"
    return f"{share} lies in {target} and in {int(last)} of {int(last['features'])} of {last['layer'].item()}"


def _effective_depth(ds: xr.Dataset, eps: float, split: str) -> str:
    found = effective_depth(ds, eps)
    share = f"{eps:.0%} of the {split} samples"
    wrong = "the nearest class mean is wrong for"
    if np.isnan(found):
        last_error = float(ds["ncc_error"].dropna("layer")[-1])
        return f"none; {wrong} more than {share} in the last layer ({last_error:.1%})"
    name, last = str(found["effective_layer"].values), ds.sizes["layer"] - 1
    return f"{int(found)} of {last} ({name}): from there on {wrong} at most {share}"


def _one_split(ds: xr.Dataset, split: str, target: str | None) -> xr.Dataset:
    """The last epoch, a split, and a target: the one that was asked for, or the only one."""
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
    """The variables with one value a layer."""
    return [str(name) for name, array in ds.data_vars.items() if "layer" in array.dims and "class" not in array.dims]


def _frame(ds: xr.Dataset, names: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    if not names:
        return pd.DataFrame({"depth": ds["depth"].values}, index=pd.Index(ds["layer"].values, name="layer"))
    dims = [dim for dim in ("target", "layer") if dim in ds.dims]
    frame: pd.DataFrame = ds[list(names)].to_dataframe(dim_order=dims)
    return frame[["depth", *names]]


def _text(frame: pd.DataFrame, beside: Mapping[Any, Sequence[str]]) -> str:
    """Numbers as text, each with its standard error, where there is one, in the same column.

    Columns of words `beside` them have an entry a layer; with several targets they are repeated.
    """
    columns = list(frame.columns)
    errors = {_error_of(column) for column in columns} & set(columns)
    shown: dict[Any, Sequence[str]] = {}
    for column in columns:
        form = depth_cell if "depth" in (column, column[-1]) else number_cell
        if column not in errors:
            own = _error_of(column)
            texts = list(map(form, frame[column]))
            shown[column] = _with_errors(texts, frame[own]) if own in errors else texts
    shown |= {name: [*words] * (len(frame) // max(len(words), 1)) for name, words in beside.items()}
    text: str = type(frame)(shown, index=frame.index).rename(index=_label).to_string(index_names=False)
    return text


def _label(name: object) -> str:
    return escaped(str(name))


def _error_of(column: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """The column of the standard error of what is in a column."""
    return f"{column}_se" if isinstance(column, str) else (*column[:-1], f"{column[-1]}_se")


def _with_errors(values: Iterable[str], errors: Iterable[float]) -> list[str]:
    """Values with what their standard errors say behind them, one below the other."""
    said = ["" if np.isnan(error) else f" ± {error:.2g}" for error in errors]
    return [value + error.ljust(max(map(len, said))) for value, error in zip(values, said, strict=True)]
