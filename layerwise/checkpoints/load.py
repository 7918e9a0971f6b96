"""Loading the weights of a checkpoint into a network, and restoring the network's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn

from layerwise.checkpoints.lora import adapter_folder, has_adapter, load_adapter
from layerwise.checkpoints.match_names import WeightsMismatch, best_fit
from layerwise.checkpoints.read import read_tensors
from layerwise.checkpoints.transformers import ignored, is_pretrained, optional, renamed
from layerwise.errors import InvalidData, listed
from layerwise.runtime.progress import logger
from layerwise.runtime.reading_errors import refusing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from layerwise.checkpoints.find import Checkpoint

__all__ = ["kept_weights", "load_weights"]

# Evaluation does not use these counters, and torch accepts weights without them.
_COUNTERS = r"(^|\.)num_batches_tracked$"


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> list[str]:
    """Load the weights of a checkpoint into a network, all or none.

    The state dict may be an entry such as ``state_dict``, ``model`` or ``model_state_dict``. Its names may have parts
    of wrappers, or a common prefix such as ``model.``.

    Parameters
    ----------
    model : Module
    checkpoint : Checkpoint

    Returns
    -------
    list of str
        Names in the checkpoint that the network has no place for, such as those of a head.

    Raises
    ------
    WeightsMismatch
        If names or shapes differ; the network is then unchanged.
    InvalidData
        If the checkpoint cannot be read as tensors, or weights of the network are offloaded.
    """
    tensors = {name: value for file in checkpoint.files for name, value in read_tensors(file).items()}
    if has_adapter(checkpoint.path):
        try:
            return load_adapter(model, tensors, checkpoint.path)
        except WeightsMismatch as error:
            folder = adapter_folder(checkpoint.path)
            raise WeightsMismatch(f"{error}. The network that was trained is hf/{folder}") from error
    weights = _weights(model)
    offloaded = [name for name, value in weights.items() if value.is_meta]
    if offloaded:
        raise InvalidData(f"checkpoints need a network in memory; {len(offloaded)} of its weights wait elsewhere")
    try:
        named, left_out = _named(model, weights, tensors, checkpoint.path)
    except WeightsMismatch as error:
        trained = f". The network that was trained is hf/{checkpoint.path}" if _is_pretrained(checkpoint.path) else ""
        raise WeightsMismatch(f"{error}{trained}") from error
    unusable = [name for name, value in named.items() if value.is_meta or value.layout != weights[name].layout]
    if unusable:
        raise InvalidData(f"{checkpoint.path} has {listed(unusable, 3)} without values, or in another layout")
    with refusing(f"the tensors of {checkpoint.path} do not go into the network"):
        model.load_state_dict(named, strict=False)
    return left_out


@contextmanager
def kept_weights(model: nn.Module) -> Iterator[None]:
    """Restore the network's weights at the end of the context, from a copy in memory."""
    copy = {name: value.detach().to("cpu", copy=True) for name, value in _weights(model).items() if not value.is_meta}
    try:
        yield
    finally:
        model.load_state_dict(copy, strict=False)


def _is_pretrained(path: Path) -> bool:
    """Whether transformers can load the whole network from this folder."""
    return (path / "config.json").exists()


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}


def _named(
    model: nn.Module, weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the checkpoint's tensors by the network's names, and the names that the network has no place for."""
    options = {"optional": [_COUNTERS, *optional(model)], "ignored": ignored(model)}
    without_head: list[str] = []
    try:
        fit = best_fit(weights, tensors, str(path), **options)
    except WeightsMismatch:
        if not is_pretrained(model):
            raise
        with refusing(f"{path} does not fit the network"):
            tensors, without_head = renamed(model, tensors)
        fit = best_fit(weights, tensors, str(path), **options)
    kept = [name for name in fit.kept if not re.search(_COUNTERS, name)]
    if kept:
        logger.warning("%s lacks %s, which the network keeps as they were", path, listed(kept, 3))
    return {name: tensors[other] for name, other in fit.pairs.items()}, [*fit.left_out, *without_head]
