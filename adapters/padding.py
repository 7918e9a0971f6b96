"""Sequence classifiers that know no padding token: they read the last token that is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["padding_known"]


@contextmanager
def padding_known(model: nn.Module, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Let a classifier without a padding token find the last token of every text, for one forward.

    What the mask leaves out gets an id that no text of the batch has; to the network that id is padding. Models that
    know their padding, and all others, get the inputs as they are.
    """
    ids = inputs.get("input_ids")
    configs = _configs(model)
    unaware = type(model).__name__.endswith("ForSequenceClassification") and configs
    if not unaware or not isinstance(ids, Tensor) or any(config.pad_token_id is not None for config in configs):
        yield dict(inputs)
        return
    mask = inputs.get("attention_mask")
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask != 0
    unused = _unused(ids[real])
    for config in configs:
        config.pad_token_id = unused
    try:
        yield {**inputs, "input_ids": torch.where(real, ids, unused)}
    finally:
        for config in configs:
            config.pad_token_id = None


def _configs(model: nn.Module) -> list[Any]:
    """The configurations that a model reads its padding token from."""
    config = getattr(model, "config", None)
    if config is None or not hasattr(config, "pad_token_id"):
        return []
    own = config.get_text_config() if hasattr(config, "get_text_config") else config
    return [config] if own is config else [config, own]


def _unused(ids: Tensor) -> int:
    """The smallest id that is not among these."""
    there = torch.unique(ids)
    candidates = torch.arange(len(there) + 1, device=ids.device)
    return int(candidates[~torch.isin(candidates, there)][0])
