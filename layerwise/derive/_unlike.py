"""What two profiles differ in besides their networks: targets, data, splits, pooling, settings."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from layerwise.derive._match import match
from layerwise.derive._places import shortened
from layerwise.derive.pooling import pooled_layers
from layerwise.errors import InvalidData

__all__ = ["Differences", "differences", "differences_text", "refuse_any", "refuse_data", "refuse_targets"]

#: What differs, and how it is in the first profile and in the second.
Differences = dict[str, list[str]]

# Attributes that change numbers, and the names under which they are told.
_SETTINGS = (
    *("ridge", "seed", "directions", "ignore_index", "samples_per_class", "frame", "precision", "jackknife", "null"),
    *("convention", "debiased", "standardize"),
)


def refuse_targets(a: xr.Dataset, b: xr.Dataset, names: tuple[str, str] = ("one", "the other")) -> None:
    """Refuse profiles whose targets of one name are not the same: of another kind, or of other classes.

    Raises
    ------
    InvalidData
        Naming the target, and what it is in both.
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
        named = not any(own == [str(place) for place in range(len(own))] for own in classes)
        if len(classes[0]) != len(classes[1]) or (named and classes[0] != classes[1]):
            shown = [
                f"{len(own)} classes ({shortened(own)}) in {name}" for own, name in zip(classes, names, strict=True)
            ]
            raise InvalidData(f"the profiles have unlike targets: {target!r} has {', '.join(shown)}")


def refuse_data(a: xr.Dataset, b: xr.Dataset, names: tuple[str, str]) -> None:
    """Refuse profiles of unlike targets, splits or samples; how the samples were prepared may differ.

    Raises
    ------
    InvalidData
        Naming what is unlike, and how it is in both.
    """
    refuse_targets(a, b, names)
    found = differences(a, b)
    # Adapters may cut a loader's batches into inputs in ways of their own.
    read_alike = a.attrs.get("adapter") == b.attrs.get("adapter")
    for what in ("targets", "splits", "samples", "data", "inputs"):
        if what in found and (what != "inputs" or read_alike):
            one, two = found[what]
            raise InvalidData(f"the {what} are not the same: {one} for {names[0]}, {two} for {names[1]}")


def refuse_any(a: xr.Dataset, b: xr.Dataset) -> None:
    """Refuse profiles that differ in anything but their networks.

    Raises
    ------
    InvalidData
        Naming all of it.
    """
    if found := differences(a, b):
        raise InvalidData(f"strict: the profiles differ in {differences_text(found)}")


def differences(a: xr.Dataset, b: xr.Dataset) -> Differences:
    """What differs besides the networks, as far as both profiles say it; nothing where all is alike."""
    found: Differences = {}
    for dim in ("target", "split"):
        own = [[str(name) for name in ds[dim].values.ravel()] if dim in ds.coords else [] for ds in (a, b)]
        if all(own) and set(own[0]) != set(own[1]):
            found[f"{dim}s"] = [", ".join(names) for names in own]
    found |= _pooling(a, b) | _data(a, b)
    for name in _SETTINGS:
        if name in a.attrs or name in b.attrs:
            values = [str(ds.attrs.get(name, "none")) for ds in (a, b)]
            known = all("layerwise_schema" in ds.attrs for ds in (a, b))
            if values[0] != values[1] and (known or "none" not in values):
                found[name] = values
    return found


def differences_text(found: Differences) -> str:
    """What differs as one line: ``pooling (mean; cls), data (digits; faces)``."""
    return ", ".join(f"{what} ({one}; {two})" for what, (one, two) in found.items())


def _pooling(a: xr.Dataset, b: xr.Dataset) -> Differences:
    """How both pool the layers that are compared, where that differs; layers without positions are not pooled."""
    one, two = pooled_layers(a), pooled_layers(b)
    pairs = [(first, second) for first, second in match(list(one), list(two)) if one[first] != two[second]]
    if pairs:
        return {"pooling": [_words([one[first] for first, _ in pairs]), _words([two[second] for _, second in pairs])]}
    if one and two and set(one.values()) != set(two.values()) and not match(list(one), list(two)):
        return {"pooling": [_words(list(one.values())), _words(list(two.values()))]}
    return {}


def _words(values: list[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _data(a: xr.Dataset, b: xr.Dataset) -> Differences:
    """Whether samples, data or what was made of the same data differ."""
    found: Differences = {}
    counts = _of_splits(a, b, "samples")
    if counts[0] != counts[1]:
        found["samples"] = [", ".join(f"{split} {count}" for split, count in own.items()) for own in counts]
    names = [str(ds.attrs.get("data", "")) for ds in (a, b)]
    inputs, labels = _of_splits(a, b, "data_fingerprint"), _of_splits(a, b, "label_fingerprint")
    sources = [str(ds.attrs.get("source_fingerprint", "")) for ds in (a, b)]
    prepared = [str(ds.attrs.get("preprocessing", "")) for ds in (a, b)]
    same = inputs[0] == inputs[1]
    if all(sources):
        if sources[0] != sources[1]:
            found["data"] = [f"{name} {source[:8]}" for name, source in zip(names, sources, strict=True)]
        elif not same or (all(prepared) and prepared[0] != prepared[1]):
            found["preprocessing"] = prepared if all(prepared) else ["its own", "its own"]
    elif inputs[0] and same:
        pass
    elif labels[0] != labels[1] or (names[0] != names[1] and not inputs[0]):
        found["data"] = names if names[0] != names[1] else [f"{names[0]}, {_first(own)}" for own in labels]
    elif not same:
        # The same labels: the same samples prepared in another way, or others.
        found["inputs"] = [f"{name} {_first(own)}" for name, own in zip(names, inputs, strict=True)]
    return found


def _first(values: dict[str, Any]) -> str:
    return str(next(iter(values.values()), ""))[:8]


def _of_splits(a: xr.Dataset, b: xr.Dataset, attribute: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """An attribute that has an entry a split, for the splits that both have."""
    one, two = (_mapping(ds, attribute) for ds in (a, b))
    shared = [split for split in one if split in two]
    return {split: one[split] for split in shared}, {split: two[split] for split in shared}


def _mapping(ds: xr.Dataset, attribute: str) -> dict[str, Any]:
    try:
        found = json.loads(str(ds.attrs.get(attribute, "{}")))
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _shared(a: xr.Dataset, b: xr.Dataset, dim: str) -> list[str]:
    if dim not in a.coords or dim not in b.coords:
        return []
    others = {str(name) for name in b[dim].values.ravel()}
    return [str(name) for name in a[dim].values.ravel() if str(name) in others]


def _kind(ds: xr.Dataset, target: str) -> str:
    dimension = _mapping(ds, "regression").get(target)
    return "classes" if dimension is None else f"regression of {dimension} numbers"


def _classes(ds: xr.Dataset, target: str) -> list[str]:
    """Names of the classes of a target; none where the profile does not say."""
    told = _mapping(ds, "classes").get(target)
    if told is not None:
        return [str(name) for name in told] if isinstance(told, list) else [str(place) for place in range(int(told))]
    if "class_name" not in ds.coords or "target" not in ds["class_name"].dims:
        return []
    place = [str(name) for name in ds["target"].values].index(target)
    return [str(name) for name in ds["class_name"].values[place] if str(name)]
