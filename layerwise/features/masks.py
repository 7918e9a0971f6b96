"""The attention mask of a batch at the positions of a layer: which of them are real, and which are padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from layerwise.errors import InvalidData
from layerwise.network.layer import Axes

__all__ = ["Rescale", "check_some_real", "mask_of_layer", "mask_that_follows", "unlike_the_first"]

#: Takes an attention mask to a layer of so many positions, fewer or more by a factor.
Rescale = Callable[[Tensor, int], Tensor]


def check_some_real(mask: Tensor | None) -> None:
    """Refuse samples that are nothing but padding: they have no features.

    Raises
    ------
    InvalidData
        If there are any; the error names their number.
    """
    if mask is None:
        return
    empty = int((mask == 0).all(1).sum())
    if empty:
        raise InvalidData(f"{empty} of {len(mask)} samples of a batch have no token but padding; leave them out")


def mask_that_follows(
    mask: Tensor | None, masks: Mapping[str, Tensor], names: Sequence[str], length: int
) -> Tensor | None:
    """Choose the mask that a layer's positions follow.

    Parameters
    ----------
    mask : Tensor or None
        The batch's own mask.
    masks : mapping of str to Tensor
        The masks of a batch that has several.
    names : sequence of str
        The masks that the layer was measured to follow (`layerwise.network.layer.Axes.masks`). Without a measurement it
        has none, and may follow any mask of its length.
    length : int
        Positions of the layer, without those that it adds itself.

    Raises
    ------
    InvalidData
        If the layer may follow several masks, and they differ.
    """
    candidates = [name for name in names if name in masks]
    candidates = candidates or [name for name, other in masks.items() if other.shape[1] == length]
    if not candidates:
        return mask
    first, other = candidates[0], unlike_the_first(masks, candidates)
    if other is not None:
        raise InvalidData(
            f"padding may be by {first!r} or by {other!r}: both have {masks[first].shape[1]} positions, and the "
            "network does not run when one of the texts alone is shorter. Give texts of two lengths, or one mask"
        )
    return masks[first]


def unlike_the_first(masks: Mapping[str, Tensor], names: Sequence[str]) -> str | None:
    """Return the first of several masks that leaves out other positions than the first one; None where all agree."""
    for name in names[1:]:
        first, other = masks[names[0]], masks[name]
        if first.shape != other.shape or bool(((first != 0) != (other != 0)).any()):
            return name
    return None


def mask_of_layer(
    mask: Tensor | None,
    axes: Axes,
    shape: Sequence[int],
    prefix: int,
    rescale: Rescale,
    *,
    tokens: bool,
    virtual: bool = False,
) -> Tensor | None:
    """Return the mask at a layer's positions; None where it does not apply to them.

    Parameters
    ----------
    mask : Tensor or None
        Attention mask of the batch, shape ``(n, tokens)``: 0 for padding.
    axes : Axes
        Measured axes of the layer.
    shape : sequence of int
        Shape of its activation, samples in front.
    prefix : int
        Tokens in front of those that the mask has.
    rescale : callable
        Takes the mask to a layer whose positions are fewer or more by a factor.
    tokens : bool
        Whether the activation is a sequence of tokens. Without a measurement, the mask is taken to be theirs.
    virtual : bool
        Whether the prefix belongs to no sample, as the trained tokens of prompt tuning.

    Returns
    -------
    Tensor or None
        Shape ``(n, positions)``.

    Raises
    ------
    InvalidData
        If the layer has another number of positions, and it is unknown where those of the mask are among them.
    """
    if mask is None or axes.masked == () or (axes.masked is None and (not tokens or shape[1] == 1)):
        return None
    length = shape[axes.masked[0] if axes.masked else 1]
    missing = length - mask.shape[1]
    if axes.scaled:
        return rescale(mask, length)
    if not missing:
        return mask
    if missing == prefix:
        front = mask.new_zeros if virtual else mask.new_ones
        return torch.cat([front(len(mask), missing), mask], dim=1)
    raise InvalidData(
        f"the attention mask has {mask.shape[1]} tokens, the layer has {length}, and whether the others are in front "
        "or behind is not known; choose other layers, or reduce='flatten'"
    )
