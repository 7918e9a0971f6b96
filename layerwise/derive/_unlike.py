"""The differences of two profiles besides their networks: targets, data, splits, pooling, settings."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from layerwise.derive._match import match
from layerwise.derive._places import shortened
from layerwise.derive.pooling import pooled_layers
from layerwise.errors import InvalidData

__all__ = ["Differences", "differences", "differences_text", "refuse_any", "refuse_data", "refuse_targets"]

#: The differing things by name, each with its value in the first profile and in the second.
Differences = dict[str, list[str]]

# Attributes of settings that change numbers.
_SETTINGS = (
    *("ridge", "seed", "directions", "ignore_index", "samples_per_class", "frame", "precision", "jackknife", "null"),
    *("convention", "debiased", "standardize"),
)


def refuse_targets(a: xr.Dataset, b: xr.Dataset, names: tuple[str, str] = ("one", "the other")) -> None:
    """Refuse profiles whose targets of the same name differ in kind or in classes.

    Raises
    ------
    InvalidData
        Naming the target, and its kind or classes in both.
    """
    for target in _shared(a, b, "target"):
        kinds = [_kind(ds, target) for ds in (a, b)]
        if kinds[0] != kinds[1]:
            raise InvalidData(
                f"the profiles have unlike targets: {target!r} is {kinds[0]} in {names[0]}, {kinds[1]} in {names[1]}"
            )
        classes = [_classes(ds, target) for ds in (a, b)]
        if not all(classes):
            continue
        named = not any(names_of == [str(place) for place in range(len(names_of))] for names_of in classes)
        if len(classes[0]) != len(classes[1]) or (named and classes[0] != classes[1]):
            shown = [
                f"{len(names_of)} classes ({shortened(names_of)}) in {name}"
                for names_of, name in zip(classes, names, strict=True)
            ]
            raise InvalidData(f"the profiles have unlike targets: {target!r} has {', '.join(shown)}")


def refuse_data(a: xr.Dataset, b: xr.Dataset, names: tuple[str, str]) -> None:
    """Refuse profiles of unlike targets, splits or samples; the preprocessing of the samples may differ.

    Raises
    ------
    InvalidData
        Naming the difference, and its value in both.
    """
    refuse_targets(a, b, names)
    unlike = differences(a, b)
    # Each adapter cuts a loader's batches into inputs in its own way.
    same_adapter = a.attrs.get("adapter") == b.attrs.get("adapter")
    for what in ("targets", "splits", "samples", "data", "inputs"):
        if what in unlike and (what != "inputs" or same_adapter):
            first, second = unlike[what]
            raise InvalidData(f"the {what} are not the same: {first} for {names[0]}, {second} for {names[1]}")


def refuse_any(a: xr.Dataset, b: xr.Dataset) -> None:
    """Refuse profiles that differ in anything but their networks.

    Raises
    ------
    InvalidData
        Naming all differences.
    """
    if unlike := differences(a, b):
        raise InvalidData(f"strict: the profiles differ in {differences_text(unlike)}")


def differences(a: xr.Dataset, b: xr.Dataset) -> Differences:
    """Return the differences besides the networks, as far as both profiles record them; empty where there are none."""
    unlike: Differences = {}
    for dim in ("target", "split"):
        labels = [[str(name) for name in ds[dim].values.ravel()] if dim in ds.coords else [] for ds in (a, b)]
        if all(labels) and set(labels[0]) != set(labels[1]):
            unlike[f"{dim}s"] = [", ".join(names) for names in labels]
    unlike |= _pooling(a, b) | _data(a, b)
    for name in _SETTINGS:
        if name in a.attrs or name in b.attrs:
            values = [str(ds.attrs.get(name, "none")) for ds in (a, b)]
            known = all("layerwise_schema" in ds.attrs for ds in (a, b))
            if values[0] != values[1] and (known or "none" not in values):
                unlike[name] = values
    return unlike


def differences_text(unlike: Differences) -> str:
    """Return the differences as one line: ``pooling (mean; cls), data (digits; faces)``."""
    return ", ".join(f"{what} ({first}; {second})" for what, (first, second) in unlike.items())


def _pooling(a: xr.Dataset, b: xr.Dataset) -> Differences:
    """Return how both pool the compared layers, where that differs; layers without positions are not pooled."""
    first, second = pooled_layers(a), pooled_layers(b)
    layers = match(list(first), list(second))
    pairs = [(name, other) for name, other in layers if first[name] != second[other]]
    if pairs:
        return {"pooling": [_words([first[name] for name, _ in pairs]), _words([second[name] for _, name in pairs])]}
    if first and second and set(first.values()) != set(second.values()) and not layers:
        return {"pooling": [_words(list(first.values())), _words(list(second.values()))]}
    return {}


def _words(values: list[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _data(a: xr.Dataset, b: xr.Dataset) -> Differences:
    """Return the differences in sample counts, in data, and in the preprocessing of the same data."""
    unlike: Differences = {}
    counts = _of_splits(a, b, "samples")
    if counts[0] != counts[1]:
        unlike["samples"] = [", ".join(f"{split} {count}" for split, count in splits.items()) for splits in counts]
    names = [str(ds.attrs.get("data", "")) for ds in (a, b)]
    inputs, labels = _of_splits(a, b, "data_fingerprint"), _of_splits(a, b, "label_fingerprint")
    sources = [str(ds.attrs.get("source_fingerprint", "")) for ds in (a, b)]
    prepared = [str(ds.attrs.get("preprocessing", "")) for ds in (a, b)]
    same = inputs[0] == inputs[1]
    if all(sources):
        if sources[0] != sources[1]:
            unlike["data"] = [f"{name} {source[:8]}" for name, source in zip(names, sources, strict=True)]
        elif not same or (all(prepared) and prepared[0] != prepared[1]):
            unlike["preprocessing"] = prepared if all(prepared) else ["its own", "its own"]
    elif inputs[0] and same:
        pass
    elif labels[0] != labels[1] or (names[0] != names[1] and not inputs[0]):
        unlike["data"] = names if names[0] != names[1] else [f"{names[0]}, {_first(splits)}" for splits in labels]
    elif not same:
        # The labels are the same: either other samples, or the same samples with another preprocessing.
        unlike["inputs"] = [f"{name} {_first(splits)}" for name, splits in zip(names, inputs, strict=True)]
    return unlike


def _first(values: dict[str, Any]) -> str:
    return str(next(iter(values.values()), ""))[:8]


def _of_splits(a: xr.Dataset, b: xr.Dataset, attribute: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an attribute with an entry a split, for the splits that both have."""
    first, second = (_mapping(ds, attribute) for ds in (a, b))
    shared = [split for split in first if split in second]
    return {split: first[split] for split in shared}, {split: second[split] for split in shared}


def _mapping(ds: xr.Dataset, attribute: str) -> dict[str, Any]:
    try:
        value = json.loads(str(ds.attrs.get(attribute, "{}")))
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _shared(a: xr.Dataset, b: xr.Dataset, dim: str) -> list[str]:
    if dim not in a.coords or dim not in b.coords:
        return []
    others = {str(name) for name in b[dim].values.ravel()}
    return [str(name) for name in a[dim].values.ravel() if str(name) in others]


def _kind(ds: xr.Dataset, target: str) -> str:
    dimension = _mapping(ds, "regression").get(target)
    return "classes" if dimension is None else f"regression of {dimension} numbers"


def _classes(ds: xr.Dataset, target: str) -> list[str]:
    """Return the names of the classes of a target; empty where the profile does not record them."""
    classes = _mapping(ds, "classes").get(target)
    if classes is not None:
        return [str(name) for name in (classes if isinstance(classes, list) else range(int(classes)))]
    if "class_name" not in ds.coords or "target" not in ds["class_name"].dims:
        return []
    place = [str(name) for name in ds["target"].values].index(target)
    return [str(name) for name in ds["class_name"].values[place] if str(name)]
