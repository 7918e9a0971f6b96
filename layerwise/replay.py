"""A profile epoch by epoch of a training that is over, from its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from layerwise.adapters import load
from layerwise.assembly import plain
from layerwise.checkpoints import find_checkpoints, has_adapter, kept_weights, load_weights, with_adapter
from layerwise.errors import InvalidData, NotRepeatable
from layerwise.frames import frames_told
from layerwise.profiling import Profiler
from layerwise.progress import bar, logger
from layerwise.provenance import weight_hash
from layerwise.settings import Settings, chosen

if TYPE_CHECKING:
    import os

    import torch
    import xarray as xr
    from torch import nn

    from layerwise.checkpoints import Checkpoint
    from layerwise.partial import Partial
    from layerwise.store import Store

__all__ = ["profile_checkpoints"]

_MEND = "another name keeps both, and overwriting measures all anew"


def profile_checkpoints(
    model: nn.Module | str,
    data: Any,
    checkpoints: str | os.PathLike[str],
    *,
    store: Store | str | os.PathLike[str] | None = None,
    run: str = "run",
    overwrite: bool = False,
    device: str | torch.device | None = None,
    batch_size: int = 64,
    settings: Settings | None = None,
    partial: Partial | None = None,
    **options: Any,
) -> xr.Dataset:
    """Measure a network with the weights of one checkpoint after the other: a run with an epoch for each.

    Each epoch is written as soon as it is measured, and those that the run has are not measured again: a call that was
    cut short goes on where it stopped when it is made again, and a training that went on is caught up with.

    Parameters
    ----------
    model : Module or str
        The network that was trained; a Module has its own weights again afterwards.
    data, device, batch_size
        As for `profile`; a loader must run any number of times.
    checkpoints : str or path
        A pattern such as ``"runs/seed0/checkpoint-*"``, or a folder: see `find_checkpoints`.
    store : Store or path, optional
        Where the run is kept; without one, it is only returned.
    run : str
        Its name in the store.
    overwrite : bool
        Whether to measure all of them anew, in place of the run that there is.
    settings : Settings, optional
    partial : Partial, optional
        Where what is accumulated of an epoch is kept until it is written, and goes on from.
    **options
        Fields of `Settings`.

    Returns
    -------
    Dataset
        The whole run, in memory.

    Raises
    ------
    WeightsMismatch
        If a checkpoint is not one of this network; what was measured before it stays.
    InvalidData
        If a checkpoint cannot be read or does not say its epoch, or if the run is one of other data or settings.
    EpochExists
        If the run has an epoch that was measured with other weights than its checkpoint has now.
    """
    from layerwise.store import Store, open_store

    found = find_checkpoints(checkpoints)
    target = store if isinstance(store, Store) else open_store("memory://" if store is None else store)
    network = load(model)[0] if isinstance(model, str) else model
    if isinstance(model, str) and has_adapter(found[0].path):
        network = with_adapter(network, found[0].path)
    profiler = Profiler(network, data, chosen(settings, options), device=device, batch_size=batch_size)
    if isinstance(model, str):
        profiler.model_name = model
    if not profiler.loaders.repeatable:
        raise NotRepeatable("every checkpoint needs a run of the data, and a loader runs once: give a DataLoader")
    with nullcontext() if isinstance(model, str) else kept_weights(profiler.network.model):
        held = [] if overwrite or run not in target else _held(target, run, found, profiler)
        todo = [checkpoint for checkpoint in found if checkpoint not in held]
        # Whatever is there stays until there is something in its place.
        outdated = overwrite and run in target
        for checkpoint in bar(todo, "checkpoints"):
            measured = _measure(profiler, checkpoint, partial)
            if outdated:
                target.replace(measured, run=run)
                outdated = False
            else:
                if run in target:
                    _refuse_other_samples(target[run], measured, run, by_name=isinstance(data, str))
                target.write(measured, run=run)
            if partial is not None:
                partial.remove()
    logger.info("measured %d of %d checkpoints; the run %r had %d already", len(todo), len(found), run, len(held))
    return target[run].load()


def _measure(profiler: Profiler, checkpoint: Checkpoint, partial: Partial | None) -> xr.Dataset:
    load_weights(profiler.network.model, checkpoint)
    measured = profiler.measure(checkpoint.epoch, checkpoint.step, partial=partial)
    return measured.assign_attrs(checkpoint=str(checkpoint.path), checkpoint_stamp=checkpoint.stamp)


def _held(target: Store, run: str, found: Sequence[Checkpoint], profiler: Profiler) -> list[Checkpoint]:
    """Those that the run has, as they are now.

    Raises
    ------
    InvalidData, EpochExists
        If the run is one of something else.
    """
    stored = target[run]
    _refuse_to_mix(stored, found, profiler, run)
    said = target.attributes(run)
    held = [checkpoint for checkpoint in found if checkpoint.epoch in stored["epoch"].values]
    for checkpoint in held:
        _refuse_other_weights({**stored.attrs, **said.loc[checkpoint.epoch]}, checkpoint, profiler.network.model, run)
    return held


def _refuse_to_mix(stored: xr.Dataset, found: Sequence[Checkpoint], profiler: Profiler, run: str) -> None:
    if "checkpoint" not in stored.attrs:
        raise InvalidData(f"the run {run!r} was not made of checkpoints; {_MEND}")
    frames = json.loads(stored.attrs.get("frame", "{}"))
    classes = {target: len(frame["norms"]) for target, frame in frames.items()}
    asked: dict[str, Any] = {"data": profiler.loaders.name}
    asked |= {name: plain(value) for name, value in profiler.told.items()}
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
            raise InvalidData(f"the run {run!r} was made with {name} {has[name]}, and not {value}; {_MEND}")
    if stored["epoch"].dtype.kind == "i" and not all(float(checkpoint.epoch).is_integer() for checkpoint in found):
        raise InvalidData(f"the run {run!r} counts whole epochs, and these checkpoints parts of them; {_MEND}")


def _refuse_other_samples(stored: xr.Dataset, measured: xr.Dataset, run: str, *, by_name: bool) -> None:
    """Raise if the data has changed, as far as that can be told of data that a caller may augment."""
    for name in ("samples", "data_fingerprint") if by_name else ("samples",):
        if stored.attrs[name] != measured.attrs[name]:
            raise InvalidData(
                f"the run {run!r} was made of other data of that name: {name} {stored.attrs[name]}, and now "
                f"{measured.attrs[name]}; {_MEND}"
            )


def _refuse_other_weights(said: Mapping[str, Any], checkpoint: Checkpoint, model: nn.Module, run: str) -> None:
    """Raise if a checkpoint was written anew since it was measured; one that was copied has its weights still."""
    from layerwise.store import EpochExists

    if said["checkpoint_stamp"] == checkpoint.stamp:
        return
    load_weights(model, checkpoint)
    if said["model_hash"] != weight_hash(model):
        raise EpochExists(
            f"the run {run!r} has epoch {checkpoint.epoch:g} with other weights than {checkpoint.path} has now; {_MEND}"
        )
