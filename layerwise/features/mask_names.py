"""Which input of a network is the mask of padding: by its name, in a mapping or in the forward's signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["counted_masks", "find_mask", "named_inputs"]

# Masks that say something else of the positions than which of them are padding.
_CALLED_MASK = re.compile(r"mask_?\d*$")
_OTHERS = frozenset(("head_mask", "global_attention_mask", "special_tokens_mask", "mask_time_indices"))


def named_inputs(model: nn.Module, inputs: Any) -> dict[str, Any]:
    """What goes into a network, by the names that its forward has for it."""
    if isinstance(inputs, Mapping):
        return dict(inputs)
    if not isinstance(inputs, tuple | list):
        return {}
    taken = inspect.signature(model.forward).parameters.values()
    names = [item.name for item in taken if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    return dict(zip(names, inputs, strict=False))


def find_mask(inputs: Mapping[str, Any], names: Mapping[str, bool], size: int) -> tuple[str, Tensor] | None:
    """The mask of padding among named inputs, and its name; None if there is none.

    Parameters
    ----------
    inputs : mapping of str to Any
    names : mapping of str to bool
        Names of masks, and whether they are true of real positions; if not, they are true of padding.
    size : int
        Samples in the batch.

    Returns
    -------
    tuple of str and Tensor, or None
        The mask has the shape ``(n, positions)`` and is 0 for padding.
    """
    for name, real in names.items():
        mask = inputs.get(name)
        if isinstance(mask, Tensor) and mask.ndim == 2 and len(mask) == size:
            # One that is added to scores is 0 where positions are real, as one that is true of padding.
            return name, mask if real else (mask == 0).long()
    return None


def counted_masks(inputs: Mapping[str, Any], used: str | None) -> list[str]:
    """Names of masks among the inputs by which something is left out in the network, and nothing in its features."""
    return [name for name, mask in _masks(inputs) if name != used and bool((mask == 0).any() and (mask != 0).any())]


def _masks(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in inputs.items():
        if _CALLED_MASK.search(str(name)) and name not in _OTHERS and isinstance(value, Tensor):
            whole = value.dtype in (torch.bool, torch.uint8, torch.int32, torch.int64)
            if whole and value.ndim in (2, 3) and bool((value == value.bool()).all()):
                yield str(name), value
