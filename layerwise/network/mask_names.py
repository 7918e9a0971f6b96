"""Which input of a network is the mask of padding: by its name, in a mapping or in the forward's signature."""

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


def named_tensors(model: nn.Module, inputs: Any) -> list[tuple[str, Tensor]]:
    """The tensors of a network's inputs, each with the name of its input, in the order of
    `layerwise.runtime.tensors.tensors_of`.

    Tensors of a tuple that the forward has no name for have none.
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
        Each mask has the shape ``(n, positions)`` and is 0 for padding. Those of a known name come first; those whose
        name has more words, as ``decoder_attention_mask`` has, follow.
    """
    found: dict[str, Tensor] = {}
    for name in [*names, *inputs]:
        real, mask = true_of_real(name, names), inputs.get(name)
        if real is not None and isinstance(mask, Tensor) and mask.ndim == 2 and len(mask) == size:
            # One that is added to scores is 0 where positions are real, as one that is true of padding.
            found.setdefault(name, mask if real else (mask == 0).long())
    return found


def with_masks(batch: Batch, inputs: Mapping[str, Any], names: Mapping[str, bool]) -> Batch:
    """The batch with its masks of padding, as `find_masks` finds them among its named inputs."""
    found = find_masks(inputs, names, batch.size)
    if not found:
        return batch
    mask = next(iter(found.values()))
    if batch.mask is not None and not torch.equal(batch.mask, mask):
        return batch
    return replace(batch, mask=mask, masks=found)


def true_of_real(name: str, names: Mapping[str, bool]) -> bool | None:
    """Whether a mask of that name is true of real positions, by the name that it has or contains; None if unknown.

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
    """Names of masks among the inputs by which something is left out in the network, and nothing in its features."""
    return [name for name, mask in _masks(inputs) if name not in used and bool((mask == 0).any() and (mask != 0).any())]


def _masks(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in inputs.items():
        if _CALLED_MASK.search(str(name)) and name not in _OTHERS and isinstance(value, Tensor):
            whole = value.dtype in (torch.bool, torch.uint8, torch.int32, torch.int64)
            if whole and value.ndim in (2, 3) and bool((value == value.bool()).all()):
                yield str(name), value
