"""A padding token for sequence classifiers without one: they read the last token that is not padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["padding_known"]


@contextmanager
def padding_known(model: nn.Module, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Let a classifier without a padding token find the last token of every text, within the context.

    Masked tokens get an id that no text of the batch has, and this id becomes the padding token of the model. For other
    models the inputs are unchanged.
    """
    ids = inputs.get("input_ids")
    configs = _configs(model)
    classifies = type(model).__name__.endswith("ForSequenceClassification") and configs
    if not classifies or not isinstance(ids, Tensor) or any(config.pad_token_id is not None for config in configs):
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
    """Return the configurations that a model reads its padding token from."""
    config = getattr(model, "config", None)
    if config is None or not hasattr(config, "pad_token_id"):
        return []
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return [config] if text_config is config else [config, text_config]


def _unused(ids: Tensor) -> int:
    """Return the smallest id that is not among `ids`."""
    used = torch.unique(ids)
    candidates = torch.arange(len(used) + 1, device=ids.device)
    return int(candidates[~torch.isin(candidates, used)][0])
