"""From profiles to the arrays that a plot shows, and the words that describe the choice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from layerwise.derive.pooling import pooling_text
from layerwise.errors import SchemaMismatch, UnknownName
from layerwise.schema import is_companion

__all__ = [
    "ARROWS",
    "Choice",
    "Profiles",
    "by_run",
    "choose",
    "common_words",
    "describe",
    "expect",
    "heading",
    "metrics_of",
    "over_seeds",
    "pooling_words",
    "values_of",
]

#: One profile, or several by name.
Profiles = xr.Dataset | Mapping[str, xr.Dataset]

#: Which way is collapse, in mathtext: not every text font has arrows.
ARROWS = {"down": r"$\downarrow$", "up": r"$\uparrow$"}


class Choice(NamedTuple):
    """The labels that the caller chose: by default ``train``, or else the first with a value, and the last epoch."""

    split: str | None = None
    target: str | None = None
    epoch: int = -1


def metrics_of(ds: xr.Dataset, *, per_class: bool = False) -> list[str]:
    """Return the variables with one value a layer (or a layer and class), without errors, biases and chance values."""
    return [
        str(name)
        for name, array in ds.data_vars.items()
        if "layer" in array.dims
        and ("class" in array.dims) == per_class
        and array.dtype.kind in "fiub"
        and not is_companion(str(name), ds)
    ]


def values_of(ds: xr.Dataset, name: str, *, per_class: bool = False) -> xr.DataArray:
    """Return the values of a variable as floats, its layers in execution order.

    Raises
    ------
    UnknownName
        If there is no such variable, or it is per class and should not be, or the other way round.
    """
    if name not in ds.data_vars:
        raise UnknownName("metric", name, metrics_of(ds, per_class=per_class))
    array = ds[name]
    if "layer" not in array.dims:
        raise UnknownName("metric over layers", name, metrics_of(ds, per_class=per_class))
    if ("class" in array.dims) != per_class:
        what = "per-class metric" if per_class else "metric with one value a layer"
        hint = (
            f"{name!r} has one value a layer: draw it with depth_heatmap, epoch_heatmap or depth_curve"
            if per_class
            else f"{name!r} has a value for every class: draw it with class_heatmap"
        )
        raise UnknownName(what, name, metrics_of(ds, per_class=per_class), hint)
    array = array.astype(np.float64)
    return array.sortby("depth") if "depth" in array.coords else array


def choose(array: xr.DataArray, choice: Choice, *, keep: Collection[str] = ()) -> tuple[xr.DataArray, list[str]]:
    """Return one split, target and epoch of a variable, and the words for the choice; dims in `keep` stay.

    A dim in `keep` whose label was asked for stays with this one label.

    Raises
    ------
    UnknownName
        If there is no such split, target or epoch.
    """
    words = []
    for dim, asked in (("split", choice.split), ("target", choice.target)):
        if dim not in array.dims or (dim in keep and asked is None):
            continue
        labels = [str(label) for label in array[dim].values]
        label = asked if asked is not None else _default(array, dim, labels)
        if label not in labels:
            raise UnknownName(dim, label, labels)
        index = labels.index(label)
        array = array.isel({dim: [index] if dim in keep else index})
        if dim not in keep and (dim == "split" or len(labels) > 1):
            words.append(label)
    if "epoch" in array.dims and "epoch" not in keep:
        epochs = array["epoch"].values.tolist()
        index = epoch_index(epochs, choice.epoch)
        array = array.isel(epoch=index)
        if len(epochs) > 1:
            words.append(f"epoch {epochs[index]}")
    return array, words


def _default(array: xr.DataArray, dim: str, labels: Sequence[str]) -> str:
    """Return ``train``, or else the first with a value: a regression metric is NaN for a target of classes."""
    if "train" in labels:
        return "train"
    has_value = array.notnull().any([other for other in array.dims if other != dim]).values.tolist()
    return labels[has_value.index(True) if any(has_value) else 0]


def epoch_index(epochs: list[int], asked: int) -> int:
    """Return the position of an epoch from its label; a negative number counts from the end."""
    if asked in epochs:
        return epochs.index(asked)
    if not -len(epochs) <= asked < 0:
        raise UnknownName("epoch", str(asked), map(str, epochs))
    return len(epochs) + asked


def over_seeds(array: xr.DataArray) -> tuple[xr.DataArray, list[str]]:
    """Return the median over seeds, which is the same on a linear and a logarithmic scale, and a word for it."""
    if "seed" not in array.dims:
        return array, []
    count = array.sizes["seed"]
    return array.median("seed", keep_attrs=True), [f"median of {count} seeds"] if count > 1 else []


def by_run(ds: Profiles, dims: Iterable[str] = ("run",)) -> dict[str, xr.Dataset] | None:
    """Return the profiles by name if there are several: a mapping, or a Dataset with one of the `dims`; else None.

    Raises
    ------
    SchemaMismatch
        If the mapping is empty.
    """
    if not isinstance(ds, xr.Dataset):
        if not ds:
            raise SchemaMismatch("no profile was given: the mapping is empty")
        return dict(ds)
    for dim in dims:
        if dim in ds.dims:
            prefix = "" if dim == "run" else f"{dim} "
            return {f"{prefix}{label}": ds.isel({dim: i}) for i, label in enumerate(ds[dim].values)}
    return None


def common_words(words: Mapping[str, list[str]]) -> tuple[list[str], list[str]]:
    """Return the words that hold for every run, for the title; and each run's name with its other words."""
    shared = [word for word in next(iter(words.values())) if all(word in run_words for run_words in words.values())]
    labels = []
    for name, run_words in words.items():
        rest = [word for word in run_words if word not in shared]
        labels.append(f"{name} ({', '.join(rest)})" if rest else name)
    return shared, labels


def pooling_words(array: xr.DataArray) -> list[str]:
    """Return the pooling of the layers, where it is one word for all of them."""
    text = pooling_text(array)
    return [f"{text} pooling"] if text and "(" not in text else []


def expect(array: xr.DataArray, *dims: str) -> None:
    """Check that an array has these dims and no others.

    Raises
    ------
    SchemaMismatch
        Naming the dims that are too many or missing.
    """
    extra = [str(dim) for dim in array.dims if dim not in dims]
    if extra:
        raise SchemaMismatch(f"{array.name!r} also has the dim {extra[0]!r}: take one with ds.isel({extra[0]}=...)")
    missing = [dim for dim in dims if dim not in array.dims]
    if missing:
        raise SchemaMismatch(f"{array.name!r} does not depend on {missing[0]!r}, its dims are {array.dims}")


def describe(array: xr.DataArray) -> str:
    """Return the label of an axis or colour bar: long name and unit; which way is collapse, and the source."""
    units = array.attrs.get("units", "1")
    name = str(array.attrs.get("long_name") or array.name)
    arrow = ARROWS.get(array.attrs.get("direction", "none"))
    notes = [f"{arrow} collapse" if arrow else "", str(array.attrs.get("reference", ""))]
    shown = units.replace("^2", "$^2$")
    lines = [name if units in ("", "1") else f"{name} [{shown}]", ", ".join(note for note in notes if note)]
    return "\n".join(line for line in lines if line)


def heading(name: str, *words: Iterable[str]) -> str:
    """Return a title: the variable, then every word once."""
    return ", ".join(dict.fromkeys([name, *(word for group in words for word in group)]))
