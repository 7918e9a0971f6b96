"""The weights of a checkpoint, put into a network; and its own put back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn

from layerwise.checkpoints.lora import adapter_folder, has_adapter, load_adapter
from layerwise.checkpoints.match_names import WeightsMismatch, best_fit, some_names
from layerwise.checkpoints.read import read_tensors
from layerwise.checkpoints.transformers import ignored, is_pretrained, optional, renamed
from layerwise.errors import InvalidData
from layerwise.runtime.progress import logger
from layerwise.runtime.reading_errors import refusing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from layerwise.checkpoints.find import Checkpoint

__all__ = ["kept_weights", "load_weights"]

# Evaluation does not use them, and torch too does without them.
_COUNTERS = r"(^|\.)num_batches_tracked$"


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> list[str]:
    """Put the weights of a checkpoint into a network: all of them, or none.

    State dicts may lie inside ``state_dict``, ``model`` or ``model_state_dict``; names may have those of wrappers, or a
    prefix such as ``model.`` below which they are the network's exactly.

    Parameters
    ----------
    model : Module
    checkpoint : Checkpoint

    Returns
    -------
    list of str
        What the checkpoint has and the network has no place for, such as a head.

    Raises
    ------
    WeightsMismatch
        If names or shapes differ; the network is then as it was.
    InvalidData
        If the checkpoint cannot be read as tensors, or the network's weights wait on another device.
    """
    tensors = {name: value for file in checkpoint.files for name, value in read_tensors(file).items()}
    if has_adapter(checkpoint.path):
        try:
            return load_adapter(model, tensors, checkpoint.path)
        except WeightsMismatch as error:
            folder = adapter_folder(checkpoint.path)
            raise WeightsMismatch(f"{error}. The network that was trained is hf/{folder}") from error
    own = _weights(model)
    waiting = [name for name, value in own.items() if value.is_meta]
    if waiting:
        raise InvalidData(f"checkpoints need a network in memory; {len(waiting)} of its weights wait elsewhere")
    try:
        named, left_out = _named(model, own, tensors, checkpoint.path)
    except WeightsMismatch as error:
        trained = f". The network that was trained is hf/{checkpoint.path}" if _is_pretrained(checkpoint.path) else ""
        raise WeightsMismatch(f"{error}{trained}") from error
    odd = [name for name, value in named.items() if value.is_meta or value.layout != own[name].layout]
    if odd:
        raise InvalidData(f"{checkpoint.path} has {some_names(odd)} without values, or in another layout")
    with refusing(f"the tensors of {checkpoint.path} do not go into the network"):
        model.load_state_dict(named, strict=False)
    return left_out


@contextmanager
def kept_weights(model: nn.Module) -> Iterator[None]:
    """Put the network's own weights back at the end; until then there is a copy of them in memory."""
    own = {name: value.detach().to("cpu", copy=True) for name, value in _weights(model).items() if not value.is_meta}
    try:
        yield
    finally:
        model.load_state_dict(own, strict=False)


def _is_pretrained(path: Path) -> bool:
    """Whether transformers can load the whole network from here."""
    return (path / "config.json").exists()


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}


def _named(
    model: nn.Module, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """The checkpoint's tensors by the network's names, and the names of those that it has no place for."""
    options = {"optional": [_COUNTERS, *optional(model)], "ignored": ignored(model)}
    beside: list[str] = []
    try:
        fit = best_fit(own, tensors, str(path), **options)
    except WeightsMismatch:
        if not is_pretrained(model):
            raise
        with refusing(f"{path} does not fit the network"):
            tensors, beside = renamed(model, tensors)
        fit = best_fit(own, tensors, str(path), **options)
    kept = [name for name in fit.kept if not re.search(_COUNTERS, name)]
    if kept:
        logger.warning("%s lacks %s, which the network keeps as they were", path, some_names(kept))
    return {name: tensors[other] for name, other in fit.pairs.items()}, [*fit.left_out, *beside]
