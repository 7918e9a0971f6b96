"""A profile epoch by epoch of a training that is over, from its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Unpack

from layerwise.adapters import load
from layerwise.arguments import checked
from layerwise.checkpoints import (
    Checkpoint,
    find_checkpoints,
    has_adapter,
    kept_weights,
    load_weights,
    with_adapter,
)
from layerwise.errors import InvalidData, NotRepeatable, listed
from layerwise.network.weights import weight_hash
from layerwise.profiling.profiler import Profiler, resume_state_of
from layerwise.runtime.progress import bar, logger
from layerwise.settings import ARGUMENTS, Settings, SettingsOptions, merge_settings
from layerwise.training.base_network import Base, measure_base
from layerwise.training.continuation import refuse_other_data, refuse_other_settings

if TYPE_CHECKING:
    import os

    import torch
    import xarray as xr
    from torch import nn

    from layerwise.passes.resume import ResumeState
    from layerwise.store import Store

__all__ = ["profile_checkpoints"]

_ARGUMENTS = ("store", "run", "overwrite", "base", "device", "batch_size", "settings", "resume_dir")
_MEND = "another name keeps both, and overwriting measures all anew"


@checked(ARGUMENTS)
def profile_checkpoints(
    model: nn.Module | str,
    data: Any,
    checkpoints: str | os.PathLike[str],
    *,
    store: Store | str | os.PathLike[str] | None = None,
    run: str = "run",
    overwrite: bool = False,
    base: bool = False,
    device: str | torch.device | None = None,
    batch_size: int = 64,
    settings: Settings | None = None,
    resume_dir: ResumeState | str | os.PathLike[str] | None = None,
    **options: Unpack[SettingsOptions],
) -> xr.Dataset:
    """Measure a network with the weights of one checkpoint after the other: a run with an epoch for each.

    Each epoch is written as soon as it is measured, and epochs that the run has are skipped. To continue after an
    interruption, or after more training, make the same call again.

    Parameters
    ----------
    model : Module or str
        The network that was trained; a Module has its own weights again afterwards.
    data, device, batch_size, settings, **options
        As for `profile`; a loader must run any number of times.
    checkpoints : str or path
        A pattern such as ``"runs/seed0/checkpoint-*"``, or a folder: see `find_checkpoints`.
    store : Store or path, optional
        Where the run is kept; without one, it is returned only.
    run : str
        Its name in the store.
    overwrite : bool
        Whether to measure all of them anew, and replace an existing run.
    base : bool
        Whether to measure the network before its training, too, as epoch 0: `model` as it is given, without the adapter
        that it may have.
    resume_dir : ResumeState or path, optional
        A folder that keeps the accumulated statistics of an epoch until the epoch is written, as for `profile`.

    Returns
    -------
    Dataset
        The whole run, in memory.

    Raises
    ------
    WeightsMismatch
        If a checkpoint is not one of this network; earlier epochs stay in the store.
    InvalidData
        If a checkpoint cannot be read or has no epoch, if the run has other data or settings, or if the network before
        its training is one of the checkpoints.
    EpochExists
        If the run has an epoch that was measured with other weights than its checkpoint has now.
    """
    asked = merge_settings(settings, options, _ARGUMENTS)
    series = find_checkpoints(checkpoints)
    target = _opened(store)
    target.check(run)
    network = load(model, trust_remote_code=asked.trust_remote_code)[0] if isinstance(model, str) else model
    if isinstance(model, str) and has_adapter(series[0].path):
        network = with_adapter(network, series[0].path)

    def profiler_of(network: nn.Module) -> Profiler:
        name = model if isinstance(model, str) else None
        return Profiler(network, data, device=device, batch_size=batch_size, settings=asked, model_name=name)

    profiler = profiler_of(network)
    if not profiler.loaders.repeatable:
        raise NotRepeatable("every checkpoint needs a run of the data, and a loader runs once: give a DataLoader")
    wanted: list[Checkpoint | Base] = [*series]
    if base:
        wanted = [Base.of(profiler.network.model, model, series), *series]
    kept = nullcontext() if isinstance(model, str) else kept_weights(profiler.network.model)
    resume_state = resume_state_of(resume_dir)
    with kept, resume_state or nullcontext():
        measured = [] if overwrite or run not in target else _measured_already(target, run, wanted, profiler)
        missing = [item for item in wanted if item not in measured]
        profiles = _profiles(profiler_of, profiler, missing, resume_state)
        _write_each(profiles, target, run, profiler, resume_state, overwrite=overwrite)
    logger.info(
        "measured %d of %d checkpoints; the run %r had %d already", len(missing), len(wanted), run, len(measured)
    )
    return target[run].load()


def _opened(store: Store | str | os.PathLike[str] | None) -> Store:
    from layerwise.store import Store, open_store

    return store if isinstance(store, Store) else open_store("memory://" if store is None else store)


def _profiles(
    profiler_of: Callable[[nn.Module], Profiler],
    profiler: Profiler,
    missing: Sequence[Checkpoint | Base],
    resume_state: ResumeState | None,
) -> Iterator[xr.Dataset]:
    """Measure one checkpoint after the other, and log weights that the network has no place for."""
    logged: list[str] = []
    for item in bar(missing, "checkpoints"):
        if isinstance(item, Base):
            yield measure_base(profiler_of, profiler, item, resume_state)
            continue
        profile, left_out = _measure(profiler, item, resume_state)
        if set(left_out) - set(logged):
            logged = left_out
            logger.warning("%s: the network has no place for %s", item.path, listed(left_out, 3))
        yield profile


def _write_each(
    profiles: Iterable[xr.Dataset],
    target: Store,
    run: str,
    profiler: Profiler,
    resume_state: ResumeState | None,
    *,
    overwrite: bool,
) -> None:
    """Write each profile as soon as it is measured; the first one replaces a run that is to be overwritten.

    Raises
    ------
    InvalidData
        If the run was measured on other data.
    """
    # The run that there is stays until there is something in its place.
    outdated = overwrite and run in target
    for profile in profiles:
        if outdated:
            target.replace(profile, run=run)
            outdated = False
        else:
            if run in target:
                refuse_other_data(target[run].attrs, profiler, run, _MEND, profile.attrs)
            target.write(profile, run=run)
        if resume_state is not None:
            resume_state.remove()


def _measure(
    profiler: Profiler, checkpoint: Checkpoint, resume_state: ResumeState | None
) -> tuple[xr.Dataset, list[str]]:
    """Return the profile of a checkpoint, and the names of its weights that the network has no place for."""
    left_out = load_weights(profiler.network.model, checkpoint)
    profile = profiler.measure(checkpoint.epoch, checkpoint.step, resume_state=resume_state)
    source = {"checkpoint": str(checkpoint.path), "checkpoint_stamp": checkpoint.stamp}
    return profile.assign_attrs({**source, "checkpoint_left_out": " ".join(left_out) or "none"}), left_out


def _measured_already(
    target: Store, run: str, wanted: Sequence[Checkpoint | Base], profiler: Profiler
) -> list[Checkpoint | Base]:
    """Return the checkpoints that the run has with the weights that they have now.

    Raises
    ------
    InvalidData, EpochExists
        If the run has other data, settings or weights.
    """
    stored = target[run]
    if "checkpoint" not in stored.attrs:
        raise InvalidData(f"the run {run!r} was not made of checkpoints; {_MEND}")
    refuse_other_settings(stored, profiler, run, _MEND)
    if stored["epoch"].dtype.kind == "i" and not all(float(item.epoch).is_integer() for item in wanted):
        raise InvalidData(f"the run {run!r} counts whole epochs, and these checkpoints parts of them; {_MEND}")
    by_epoch = target.attributes(run)
    measured = [item for item in wanted if item.epoch in stored["epoch"].values]
    for item in measured:
        _refuse_other_weights({**stored.attrs, **by_epoch.loc[item.epoch]}, item, profiler.network.model, run)
    return measured


def _refuse_other_weights(
    recorded: Mapping[str, Any], checkpoint: Checkpoint | Base, model: nn.Module, run: str
) -> None:
    """Raise if a checkpoint has other weights than when it was measured; a copied file has the same ones."""
    from layerwise.store import EpochExists

    if recorded["checkpoint_stamp"] == checkpoint.stamp:
        return
    if isinstance(checkpoint, Checkpoint):
        with kept_weights(model):
            load_weights(model, checkpoint)
            now = weight_hash(model)
    else:
        now = checkpoint.stamp
    if recorded["model_hash"] != now:
        raise EpochExists(
            f"the run {run!r} has epoch {checkpoint.epoch:g} with other weights than {checkpoint.path} has now; {_MEND}"
        )
