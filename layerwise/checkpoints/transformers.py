"""Names of weights that transformers saves under other names than the network's."""

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
    """Whether the network is a model of transformers."""
    transformers: Any = sys.modules.get("transformers")
    return transformers is not None and isinstance(model, transformers.PreTrainedModel)


def optional(model: nn.Module) -> list[str]:
    """Return expressions for the names that transformers allows to be missing."""
    return list(getattr(model, "_keys_to_ignore_on_load_missing", None) or ())


def ignored(model: nn.Module) -> list[str]:
    """Return expressions for the names that transformers ignores."""
    return list(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ())


def renamed(model: Any, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Convert tensors to the network's names, by loading them into a second network of the same kind.

    Transformers renames, splits and stacks some weights on saving and loading: those of ViT, DINOv2, Swin and all
    mixtures of experts.

    Returns
    -------
    tensors : dict of str to Tensor
        Missing weights are not included; those of another shape, or without use, have no values.
    left_out : list of str
        Names, such as those of a head of another task, that a network without a head does not use.
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
    unused, left_out = ([], unexpected) if model.base_model is model else (unexpected, [])
    absent = {*info["missing_keys"], *reshaped}
    loaded: dict[str, Tensor] = {name: value for name, value in fresh.state_dict().items() if name not in absent}
    return loaded | reshaped | {name: torch.empty(0, device="meta") for name in unused}, left_out


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the reports and bars of transformers within the context: mismatches become errors later."""
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
