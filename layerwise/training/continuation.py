"""Whether what is measured now continues a run that a store has: the same settings, layers and data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import xarray as xr

from layerwise.errors import InvalidData
from layerwise.evaluation.dataset import plain
from layerwise.evaluation.target_frames import frames_told
from layerwise.passes.sweep import read_fingerprint
from layerwise.profiling.attributes import settings_attributes
from layerwise.profiling.profiler import Profiler

__all__ = ["refuse_other_data", "refuse_other_settings"]


def refuse_other_settings(stored: xr.Dataset, profiler: Profiler, run: str, way_out: str) -> None:
    """Raise if a run was measured otherwise.

    Parameters
    ----------
    stored : Dataset
        The run.
    profiler : Profiler
    run, way_out : str
        Its name, and what to do about it.

    Raises
    ------
    InvalidData
        Naming the first setting that differs.
    """
    frames = json.loads(stored.attrs.get("frame", "{}"))
    classes = {target: len(frame["norms"]) for target, frame in frames.items()}
    asked: dict[str, Any] = {"data": profiler.loaders.name}
    asked |= {name: plain(value) for name, value in settings_attributes(profiler.prepared).items()}
    has = {name: stored.attrs.get(name, "none") for name in asked}
    asked |= {
        "layers": [layer.name for layer in profiler.layers],
        "metrics": sorted(variable.name for variable in profiler.variables),
        "frame": frames_told(profiler.settings, classes).get("frame", {}),
    }
    has |= {
        "layers": stored["layer"].values.tolist(),
        "metrics": sorted(map(str, stored.data_vars)),
        "frame": frames,
    }
    for name, value in asked.items():
        if value != has[name]:
            raise InvalidData(f"the run {run!r} was made with {name} {has[name]}, and not {value}; {way_out}")


def refuse_other_data(
    stored: Mapping[str, Any], profiler: Profiler, run: str, way_out: str, measured: Mapping[str, Any] | None = None
) -> None:
    """Raise if a run was measured on other samples, as far as that can be told of data that a caller may augment.

    Samples that are others every time they are asked for are no other data: of them the labels are compared, and where
    those change too, how many there are.

    Parameters
    ----------
    stored : mapping
        Attributes of the run.
    profiler : Profiler
    run, way_out : str
    measured : mapping, optional
        Attributes of what was just measured; the data is read for them by default.

    Raises
    ------
    InvalidData
        Naming what differs.
    """
    now = measured if measured is not None else _read(profiler)
    _refuse(stored, now, run, way_out, "samples")
    if stored["data_fingerprint"] == now["data_fingerprint"]:
        return
    # What another run of the data gives again is no chance.
    again = _read(profiler)
    if again["data_fingerprint"] == now["data_fingerprint"]:
        _refuse(stored, now, run, way_out, "data_fingerprint")
    if "label_fingerprint" not in stored:
        return
    before, first, second = (_of_labels(attributes) for attributes in (stored, now, again))
    if any(one == other != known for known, one, other in zip(before, first, second, strict=True)):
        _refuse(stored, now, run, way_out, "label_fingerprint")


def _of_labels(attributes: Mapping[str, Any]) -> list[list[str]]:
    """The fingerprints of the labels in any order, by split, and those in their order."""
    by_split: dict[str, str] = json.loads(attributes["label_fingerprint"])
    return [list(kind) for kind in zip(*(text.split() for _, text in sorted(by_split.items())), strict=True)]


def _refuse(stored: Mapping[str, Any], now: Mapping[str, Any], run: str, way_out: str, name: str) -> None:
    if stored[name] != now[name]:
        raise InvalidData(
            f"the run {run!r} was made of other data of that name: {name} {stored[name]}, and now {now[name]}; "
            f"{way_out}"
        )


def _read(profiler: Profiler) -> dict[str, Any]:
    """The attributes that tell samples apart, from a run of the data without the network."""
    found: dict[str, dict[str, Any]] = {"samples": {}, "data_fingerprint": {}, "label_fingerprint": {}}
    for split, loader in profiler.loaders.splits.items():
        found["samples"][split], fingerprint = read_fingerprint(profiler.network, loader, split)
        found["data_fingerprint"][split] = str(fingerprint)
        found["label_fingerprint"][split] = fingerprint.of_labels
    return {name: plain(value) for name, value in found.items()}
