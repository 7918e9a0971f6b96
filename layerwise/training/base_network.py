"""The network before its training, as epoch 0 of a series of checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerwise.checkpoints import Checkpoint, kept_weights, load_weights, without_adapter
from layerwise.errors import InvalidData
from layerwise.network.weights import weight_hash
from layerwise.profiling.profiler import Profiler
from layerwise.runtime.progress import logger

if TYPE_CHECKING:
    import xarray as xr
    from torch import nn

    from layerwise.passes.resume import ResumeState

__all__ = ["Base", "measure_base"]


@dataclass(frozen=True)
class Base:
    """The network before its training, as epoch 0 of its checkpoints.

    Attributes
    ----------
    path : str
        Its name in messages.
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
    def of(cls, network: nn.Module, model: nn.Module | str, series: Sequence[Checkpoint]) -> Base:
        """Return the base of checkpoints.

        Raises
        ------
        InvalidData
            If it is one of the checkpoints, or one of them has epoch 0 already.
        """
        for checkpoint in series:
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
            load_weights(network, series[-1])
            if weight_hash(network) == stamp:
                raise InvalidData(
                    f"{name} has the weights of {series[-1].path}, and is no network before its training: give the one "
                    "that the training began with"
                )
        return cls(name, stamp, isinstance(model, str), type(series[0].epoch)(0))


def measure_base(
    profiler_of: Callable[[nn.Module], Profiler], trained: Profiler, base: Base, resume_state: ResumeState | None
) -> xr.Dataset:
    """Return the profile of the network before its training, with the layers that it has with an adapter.

    Raises
    ------
    InvalidData
        If it has other layers.
    """
    model = trained.network.model
    if hasattr(model, "peft_config"):
        measured = _without_adapter(profiler_of, trained, base, resume_state)
    else:
        measured = trained.measure(base.epoch, base.step, resume_state=resume_state)
    source = {"checkpoint": "base", "checkpoint_stamp": base.stamp, "checkpoint_left_out": "none"}
    return measured.assign_attrs({**source, "model_hash": base.stamp})


def _without_adapter(
    profiler_of: Callable[[nn.Module], Profiler], trained: Profiler, base: Base, resume_state: ResumeState | None
) -> xr.Dataset:
    """Return the profile of the network without its adapter, with the coordinates of the layers with it."""
    model = trained.network.model
    with without_adapter(model):
        # A new profiler, since modules that the adapter replaces do not run without it.
        measured = profiler_of(model).measure(base.epoch, base.step, resume_state=resume_state)
    names, measured_names = [layer.name for layer in trained.layers], measured["layer"].values.tolist()
    if names != measured_names:
        raise InvalidData(
            f"without its adapter the network has the layers {measured_names}, and with it {names}: leave base away"
        )
    coordinates = {
        "kind": [layer.kind for layer in trained.layers],
        "shape": ["x".join(map(str, layer.shape)) for layer in trained.layers],
        "parameters": [layer.parameters for layer in trained.layers],
    }
    if base.by_name and any("modules_to_save" in name for name, _ in model.named_modules()):
        logger.warning(
            "what a head was before the training no adapter says: epoch 0 has the head that %s gives", base.path
        )
    return measured.assign_coords({name: measured[name].copy(data=values) for name, values in coordinates.items()})


def _is_named(model: nn.Module | str, path: Path) -> bool:
    """Whether a model's name is that of a checkpoint's folder, or of a file in it."""
    if not isinstance(model, str):
        return False
    named = model.partition("/")[2].partition("?")[0]
    file = model.partition("?file=")[2].partition("&")[0]
    return any(
        part and Path(part).expanduser().resolve() in (path.resolve(), path.resolve().parent) for part in (named, file)
    )
