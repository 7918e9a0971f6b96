"""Whether a measurement continues a run that a store has: the same settings, layers and data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from layerwise.errors import InvalidData
from layerwise.evaluation.dataset import plain
from layerwise.evaluation.target_frames import frames_told
from layerwise.passes.labels_only import read_fingerprint
from layerwise.profiling.attributes import settings_attributes
from layerwise.profiling.profiler import Profiler
from layerwise.runtime.distributed import broadcast

if TYPE_CHECKING:
    from layerwise.store import Store

__all__ = ["refuse_another_run", "refuse_existing_run", "refuse_other_data", "refuse_other_settings"]


def refuse_existing_run(store: Store, run: str, *, resume: bool) -> None:
    """Raise, before anything is trained, if measurements would land among those of another training.

    Parameters
    ----------
    store : Store
    run : str
    resume : bool
        Whether the run is to be continued.

    Raises
    ------
    EpochExists
        If the store has the run, and it is not to be continued.
    """
    store.check(run)
    if resume or run not in store:
        return
    from layerwise.store import EpochExists

    epochs = store[run]["epoch"].values
    raise EpochExists(
        f"the run {run!r} already has {len(epochs)} epochs, {epochs[0]} to {epochs[-1]}; "
        "resume=True goes on with it, another name keeps both"
    )


def refuse_another_run(stored: xr.Dataset | None, profiler: Profiler, run: str, way_out: str) -> None:
    """Raise if a run was measured with other settings or on other data; every process that shares the data calls it.

    Parameters
    ----------
    stored : Dataset or None
        The run; None where there is none yet, or another process reads it.
    profiler : Profiler
    run, way_out : str
        Its name, and what to do about it.

    Raises
    ------
    InvalidData
        Naming what differs.
    """
    if stored is not None:
        refuse_other_settings(stored, profiler, run, way_out)
    shared = profiler.prepared.inputs.shared
    attributes = broadcast(None if stored is None else dict(stored.attrs), shared)
    if attributes is not None:
        refuse_other_data(attributes, profiler, run, way_out)


def refuse_other_settings(stored: xr.Dataset, profiler: Profiler, run: str, way_out: str) -> None:
    """Raise if a run was measured with other settings, layers or metrics.

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
    now: dict[str, Any] = {"data": profiler.loaders.name}
    now |= {name: plain(value) for name, value in settings_attributes(profiler.prepared).items()}
    before = {name: stored.attrs.get(name, "none") for name in now}
    now |= {
        "layers": [layer.name for layer in profiler.layers],
        "metrics": sorted(variable.name for variable in profiler.variables),
        "frame": frames_told(profiler.settings, classes).get("frame", {}),
    }
    before |= {
        "layers": stored["layer"].values.tolist(),
        "metrics": sorted(map(str, stored.data_vars)),
        "frame": frames,
    }
    for name, value in now.items():
        if value != before[name]:
            raise InvalidData(f"the run {run!r} was made with {name} {before[name]}, and not {value}; {way_out}")


def refuse_other_data(
    stored: Mapping[str, Any], profiler: Profiler, run: str, way_out: str, measured: Mapping[str, Any] | None = None
) -> None:
    """Raise if a run was measured on other samples.

    Data that changes whenever it is read, such as augmented samples, is compared by its labels; if those change too, by
    the number of samples.

    Parameters
    ----------
    stored : mapping
        Attributes of the run.
    profiler : Profiler
    run, way_out : str
    measured : mapping, optional
        Attributes of the new measurement; by default, the data is read for them.

    Raises
    ------
    InvalidData
        Naming what differs.
    """
    now = measured if measured is not None else _read(profiler)
    _refuse(stored, now, run, way_out, "samples")
    if stored["data_fingerprint"] == now["data_fingerprint"]:
        return
    # A difference that a second reading repeats is not a random one.
    again = _read(profiler)
    if again["data_fingerprint"] == now["data_fingerprint"]:
        _refuse(stored, now, run, way_out, "data_fingerprint")
    if "label_fingerprint" not in stored:
        return
    before, first, second = (_of_labels(attributes) for attributes in (stored, now, again))
    if any(now_text == again_text != known for known, now_text, again_text in zip(before, first, second, strict=True)):
        _refuse(stored, now, run, way_out, "label_fingerprint")


def _of_labels(attributes: Mapping[str, Any]) -> list[list[str]]:
    """Return the fingerprints of the labels in any order, by split, and those in their order."""
    by_split: dict[str, str] = json.loads(attributes["label_fingerprint"])
    return [list(kind) for kind in zip(*(text.split() for _, text in sorted(by_split.items())), strict=True)]


def _refuse(stored: Mapping[str, Any], now: Mapping[str, Any], run: str, way_out: str, name: str) -> None:
    if stored[name] != now[name]:
        raise InvalidData(
            f"the run {run!r} was made of other data of that name: {name} {stored[name]}, and now {now[name]}; "
            f"{way_out}"
        )


def _read(profiler: Profiler) -> dict[str, Any]:
    """Return the attributes that identify the samples, from a run of the data without the network."""
    attributes: dict[str, dict[str, Any]] = {"samples": {}, "data_fingerprint": {}, "label_fingerprint": {}}
    for split, loader in profiler.loaders.splits.items():
        attributes["samples"][split], fingerprint = read_fingerprint(profiler.network, loader, split)
        attributes["data_fingerprint"][split] = str(fingerprint)
        attributes["label_fingerprint"][split] = fingerprint.of_labels
    return {name: plain(value) for name, value in attributes.items()}
