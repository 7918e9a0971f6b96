"""Find the masks of padding among a network's inputs, by their names in a mapping or in the forward's signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from layerwise.adapters.protocol import Batch
from layerwise.runtime.tensors import tensors_of

__all__ = ["counted_masks", "find_masks", "named_inputs", "named_tensors", "true_of_real", "with_masks"]

# Names of inputs that may be masks, and of masks that mark something else than padding.
_CALLED_MASK = re.compile(r"mask_?\d*$")
_OTHERS = frozenset(("head_mask", "global_attention_mask", "special_tokens_mask", "mask_time_indices"))


def named_inputs(model: nn.Module, inputs: Any) -> dict[str, Any]:
    """Return a network's inputs by the names that its forward has for them."""
    if isinstance(inputs, Mapping):
        return dict(inputs)
    if not isinstance(inputs, tuple | list):
        return {}
    arguments = inspect.signature(model.forward).parameters.values()
    names = [item.name for item in arguments if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    return dict(zip(names, inputs, strict=False))


def named_tensors(model: nn.Module, inputs: Any) -> list[tuple[str, Tensor]]:
    """Return the tensors of a network's inputs, each with the name of its input.

    They are in the order of `layerwise.runtime.tensors.tensors_of`. Tensors that the forward has no name for have an
    empty one.
    """
    named = named_inputs(model, inputs)
    names = [str(name) for name, value in named.items() for _ in tensors_of(value)]
    tensors = tensors_of(inputs)
    return list(zip([*names, *[""] * (len(tensors) - len(names))], tensors, strict=True))


def find_masks(inputs: Mapping[str, Any], names: Mapping[str, bool], size: int) -> dict[str, Tensor]:
    """Find the masks of padding among named inputs; the first is that of the batch's own labels.

    Parameters
    ----------
    inputs : mapping of str to Any
    names : mapping of str to bool
        Names of masks, and whether they are true of real positions; if not, they are true of padding.
    size : int
        Samples in the batch.

    Returns
    -------
    dict of str to Tensor
        Each mask has the shape ``(n, positions)`` and is 0 for padding. Masks of a known name come first; names with
        more words, such as ``decoder_attention_mask``, follow.
    """
    masks: dict[str, Tensor] = {}
    for name in [*names, *inputs]:
        real, mask = true_of_real(name, names), inputs.get(name)
        if real is not None and isinstance(mask, Tensor) and mask.ndim == 2 and len(mask) == size:
            # A mask that is added to scores is 0 at real positions, like one that is true of padding.
            masks.setdefault(name, mask if real else (mask == 0).long())
    return masks


def with_masks(batch: Batch, inputs: Mapping[str, Any], names: Mapping[str, bool]) -> Batch:
    """Return the batch with its masks of padding, as `find_masks` finds them among its named inputs."""
    masks = find_masks(inputs, names, batch.size)
    if not masks:
        return batch
    mask = next(iter(masks.values()))
    if batch.mask is not None and not torch.equal(batch.mask, mask):
        return batch
    return replace(batch, mask=mask, masks=masks)


def true_of_real(name: str, names: Mapping[str, bool]) -> bool | None:
    """Return whether a mask of a name is true of real positions, by the name that it has or contains; None if unknown.

    Examples
    --------
    >>> true_of_real("decoder_attention_mask", {"attention_mask": True})
    True
    >>> true_of_real("tgt_key_padding_mask", {"padding_mask": False})
    False
    """
    if name in names:
        return names[name]
    if name in _OTHERS:
        return None
    return next((real for known, real in names.items() if f"_{known}_" in f"_{name}_"), None)


def counted_masks(inputs: Mapping[str, Any], used: Collection[str]) -> list[str]:
    """Return the names of inputs that look like masks and leave out something, but are not used for the features."""
    return [name for name, mask in _masks(inputs) if name not in used and bool((mask == 0).any() and (mask != 0).any())]


def _masks(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in inputs.items():
        if _CALLED_MASK.search(str(name)) and name not in _OTHERS and isinstance(value, Tensor):
            whole = value.dtype in (torch.bool, torch.uint8, torch.int32, torch.int64)
            if whole and value.ndim in (2, 3) and bool((value == value.bool()).all()):
                yield str(name), value
