"""A profile epoch by epoch of a training that is over, from its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise.adapters import load
from layerwise.arguments import checked
from layerwise.checkpoints import (
    Checkpoint,
    find_checkpoints,
    has_adapter,
    kept_weights,
    load_weights,
    with_adapter,
    without_adapter,
)
from layerwise.checkpoints.match_names import some_names
from layerwise.errors import InvalidData, NotRepeatable
from layerwise.network.weights import weight_hash
from layerwise.profiling.profiler import Profiler
from layerwise.runtime.progress import bar, logger
from layerwise.settings import ARGUMENTS, Settings, chosen
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


@dataclass(frozen=True)
class Base:
    """The network before its training, in the row of its checkpoints.

    Attributes
    ----------
    path : str
        What to call it in messages.
    epoch, step : int
        Both 0.
    stamp : str
        Hash of its weights, without those of an adapter.
    by_name : bool
        Whether it was loaded by name, with a head of random values where the base has none.
    """

    path: str
    stamp: str
    by_name: bool = False
    epoch: float = 0
    step: int = 0

    @classmethod
    def of(cls, network: nn.Module, model: nn.Module | str, found: Sequence[Checkpoint]) -> Base:
        """The base of checkpoints.

        Raises
        ------
        InvalidData
            If it is one of the checkpoints, or one of them is of epoch 0 already.
        """
        for checkpoint in found:
            if checkpoint.epoch == 0:
                raise InvalidData(f"{checkpoint.path} is of epoch 0, before the training; leave base away")
            adapters = getattr(network, "peft_config", {})
            if not adapters and _is_named(model, checkpoint.path):
                raise InvalidData(
                    f"{model} is the checkpoint of epoch {checkpoint.epoch:g}, and no network before its training: "
                    "give the one that the training began with"
                )
        name = model if isinstance(model, str) else type(model).__name__
        stamp = weight_hash(network, list(getattr(network, "peft_config", {})))
        with kept_weights(network):
            load_weights(network, found[-1])
            if weight_hash(network) == stamp:
                raise InvalidData(
                    f"{name} has the weights of {found[-1].path}, and is no network before its training: give the one "
                    "that the training began with"
                )
        return cls(name, stamp, isinstance(model, str), type(found[0].epoch)(0))


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
    resume_dir: ResumeState | None = None,
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
    base : bool
        Whether to measure the network before its training, too, as epoch 0: `model` as it is given, without the adapter
        that it may have.
    settings : Settings, optional
    resume_dir : ResumeState, optional
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
        If a checkpoint cannot be read or does not say its epoch, if the run is one of other data or settings, or if the
        network before its training is one of the checkpoints.
    EpochExists
        If the run has an epoch that was measured with other weights than its checkpoint has now.
    """
    from layerwise.store import Store, open_store

    asked = chosen(settings, options, _ARGUMENTS)
    found = find_checkpoints(checkpoints)
    target = store if isinstance(store, Store) else open_store("memory://" if store is None else store)
    target.check(run)
    trusted = asked.trust_remote_code
    network = load(model, trust_remote_code=trusted)[0] if isinstance(model, str) else model
    if isinstance(model, str) and has_adapter(found[0].path):
        network = with_adapter(network, found[0].path)

    def profiler_of(network: nn.Module) -> Profiler:
        name = model if isinstance(model, str) else None
        return Profiler(network, data, asked, device=device, batch_size=batch_size, model_name=name)

    profiler = profiler_of(network)
    if not profiler.loaders.repeatable:
        raise NotRepeatable("every checkpoint needs a run of the data, and a loader runs once: give a DataLoader")
    wanted: list[Checkpoint | Base] = [*found]
    if base:
        wanted = [Base.of(profiler.network.model, model, found), *found]
    with nullcontext() if isinstance(model, str) else kept_weights(profiler.network.model), resume_dir or nullcontext():
        held = [] if overwrite or run not in target else _held(target, run, wanted, profiler)
        todo = [item for item in wanted if item not in held]
        # Whatever is there stays until there is something in its place.
        outdated = overwrite and run in target
        left_out: list[str] = []
        for item in bar(todo, "checkpoints"):
            beside: list[str] = []
            if isinstance(item, Base):
                measured = _measure_base(profiler_of, profiler, item, resume_dir)
            else:
                measured, beside = _measure(profiler, item, resume_dir)
            if set(beside) - set(left_out):
                left_out = beside
                logger.warning("%s: the network has no place for %s", item.path, some_names(beside))
            if outdated:
                target.replace(measured, run=run)
                outdated = False
            else:
                if run in target:
                    refuse_other_data(target[run].attrs, profiler, run, _MEND, measured.attrs)
                target.write(measured, run=run)
            if resume_dir is not None:
                resume_dir.remove()
    logger.info("measured %d of %d checkpoints; the run %r had %d already", len(todo), len(wanted), run, len(held))
    return target[run].load()


def _measure(
    profiler: Profiler, checkpoint: Checkpoint, resume_state: ResumeState | None
) -> tuple[xr.Dataset, list[str]]:
    """The profile of a checkpoint, and what of it the network has no place for."""
    left_out = load_weights(profiler.network.model, checkpoint)
    measured = profiler.measure(checkpoint.epoch, checkpoint.step, resume_state=resume_state)
    said = {"checkpoint": str(checkpoint.path), "checkpoint_stamp": checkpoint.stamp}
    return measured.assign_attrs({**said, "checkpoint_left_out": " ".join(left_out) or "none"}), left_out


def _measure_base(
    profiler_of: Callable[[nn.Module], Profiler], trained: Profiler, base: Base, resume_state: ResumeState | None
) -> xr.Dataset:
    """The profile of the network before its training, with the layers that it has with an adapter.

    Raises
    ------
    InvalidData
        If it has other layers.
    """
    model = trained.network.model
    if not hasattr(model, "peft_config"):
        measured = trained.measure(base.epoch, base.step, resume_state=resume_state)
    else:
        with without_adapter(model):
            # Modules that the adapter replaces do not run without it.
            measured = profiler_of(model).measure(base.epoch, base.step, resume_state=resume_state)
        names, found = [layer.name for layer in trained.layers], measured["layer"].values.tolist()
        if names != found:
            raise InvalidData(
                f"without its adapter the network has the layers {found}, and with it {names}: leave base away"
            )
        own = {
            "kind": [layer.kind for layer in trained.layers],
            "shape": ["x".join(map(str, layer.shape)) for layer in trained.layers],
            "parameters": [layer.parameters for layer in trained.layers],
        }
        measured = measured.assign_coords({name: measured[name].copy(data=values) for name, values in own.items()})
        if base.by_name and any("modules_to_save" in name for name, _ in model.named_modules()):
            logger.warning(
                "what a head was before the training no adapter says: epoch 0 has the head that %s gives", base.path
            )
    said = {"checkpoint": "base", "checkpoint_stamp": base.stamp, "checkpoint_left_out": "none"}
    return measured.assign_attrs({**said, "model_hash": base.stamp})


def _held(target: Store, run: str, wanted: Sequence[Checkpoint | Base], profiler: Profiler) -> list[Checkpoint | Base]:
    """Those that the run has, as they are now.

    Raises
    ------
    InvalidData, EpochExists
        If the run is one of something else.
    """
    stored = target[run]
    if "checkpoint" not in stored.attrs:
        raise InvalidData(f"the run {run!r} was not made of checkpoints; {_MEND}")
    refuse_other_settings(stored, profiler, run, _MEND)
    if stored["epoch"].dtype.kind == "i" and not all(float(item.epoch).is_integer() for item in wanted):
        raise InvalidData(f"the run {run!r} counts whole epochs, and these checkpoints parts of them; {_MEND}")
    said = target.attributes(run)
    held = [item for item in wanted if item.epoch in stored["epoch"].values]
    for item in held:
        _refuse_other_weights({**stored.attrs, **said.loc[item.epoch]}, item, profiler.network.model, run)
    return held


def _refuse_other_weights(said: Mapping[str, Any], checkpoint: Checkpoint | Base, model: nn.Module, run: str) -> None:
    """Raise if a checkpoint was written anew since it was measured; one that was copied has its weights still."""
    from layerwise.store import EpochExists

    if said["checkpoint_stamp"] == checkpoint.stamp:
        return
    if isinstance(checkpoint, Checkpoint):
        with kept_weights(model):
            load_weights(model, checkpoint)
            now = weight_hash(model)
    else:
        now = checkpoint.stamp
    if said["model_hash"] != now:
        raise EpochExists(
            f"the run {run!r} has epoch {checkpoint.epoch:g} with other weights than {checkpoint.path} has now; {_MEND}"
        )


def _is_named(model: nn.Module | str, path: Path) -> bool:
    """Whether a model's name is that of a checkpoint's folder, or of a file in it."""
    if not isinstance(model, str):
        return False
    named = model.partition("/")[2].partition("?")[0]
    file = model.partition("?file=")[2].partition("&")[0]
    return any(
        part and Path(part).expanduser().resolve() in (path.resolve(), path.resolve().parent) for part in (named, file)
    )
