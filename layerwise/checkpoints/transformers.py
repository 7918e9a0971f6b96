"""Weights under the names that transformers saves them by, where those are not the network's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ignored", "is_pretrained", "optional", "renamed"]


def is_pretrained(model: nn.Module) -> bool:
    """Whether the network is one of transformers'."""
    transformers: Any = sys.modules.get("transformers")
    return transformers is not None and isinstance(model, transformers.PreTrainedModel)


def optional(model: nn.Module) -> list[str]:
    """Expressions for the names that transformers itself does without."""
    return list(getattr(model, "_keys_to_ignore_on_load_missing", None) or ())


def ignored(model: nn.Module) -> list[str]:
    """Expressions for the names that transformers itself passes over."""
    return list(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ())


def renamed(model: Any, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under the network's names, as transformers loads them into a second network of the same kind.

    Beside them the names of what a network without a head leaves out, another task's.

    It renames, splits and stacks weights on the way to a file and back: those of ViT, DINOv2, Swin and of all mixtures
    of experts. What it did not find is not there; what it found in another shape, or had no use for, has no values.
    """
    with _quietly():
        fresh, info = type(model).from_pretrained(
            None,
            config=deepcopy(model.config),
            state_dict=dict(tensors),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    reshaped = {name: torch.empty(shape, device="meta") for name, shape, _ in info["mismatched_keys"]}
    unexpected = sorted(info["unexpected_keys"])
    beside, left_out = ([], unexpected) if model.base_model is model else (unexpected, [])
    absent = {*info["missing_keys"], *reshaped}
    found: dict[str, Tensor] = {name: value for name, value in fresh.state_dict().items() if name not in absent}
    return found | reshaped | {name: torch.empty(0, device="meta") for name in beside}, left_out


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the reports and bars of transformers: what does not fit is an error here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
