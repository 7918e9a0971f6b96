"""An activation becomes samples by features: ``(n, ...)`` to ``(n, d)``, or to ``(n, positions, d)``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from layerwise.errors import InvalidData, UnknownName
from layerwise.layers import Layer

__all__ = ["DENSE", "REDUCTIONS", "Tokens", "check_reduction", "is_tokens", "positions", "reduce", "reduction_of"]

#: The reductions that keep every token or pixel apart.
DENSE = ("tokens", "pixels")

#: The reductions by name. ``grid:k`` and ``sketch:k`` take a number.
REDUCTIONS = ("auto", "gap", "grid:k", "cls", "mean", "max", "last", "eos", "flatten", "sketch:k", *DENSE)


@dataclass(frozen=True)
class Tokens:
    """What a reduction over tokens must know of the batch.

    Attributes
    ----------
    mask : Tensor or None
        Attention mask, shape ``(n, tokens)``: 1 for a real token, 0 for padding.
    prefix : int
        Class and register tokens in front of the tokens that the input itself gives.
    """

    mask: Tensor | None = None
    prefix: int = 0


def check_reduction(name: str) -> None:
    """Refuse a name that is no reduction.

    Raises
    ------
    UnknownName
        Naming the reductions that there are.
    """
    kind, _, number = name.partition(":")
    wants_number = f"{kind}:k" in REDUCTIONS
    is_number = number.isascii() and number.isdecimal() and int(number) > 0
    if wants_number != is_number or (not wants_number and name not in REDUCTIONS):
        raise UnknownName("reduction", name, REDUCTIONS)


def reduction_of(layer: Layer, name: str, pooling: str, *, headless: bool = False) -> str:
    """What ``auto`` means for a layer: the network's own pooling for tokens; for maps averaging, or its own too.

    Parameters
    ----------
    layer : Layer
    name : str
        The reduction that was asked for.
    pooling : str
        How the network itself pools: ``"cls"``, ``"mean"``, ``"max"``, ``"last"``, ``"eos"``, ``"gap"`` or
        ``"flatten"``; of maps only ``"max"`` and ``"flatten"`` say anything.
    headless : bool
        Whether the class token that others have is not among this layer's tokens: then it is the mean that is taken.
    """
    if len(layer.shape) <= 1:
        return "flatten"
    tokens = is_tokens(layer)
    own = pooling if tokens or pooling in ("max", "flatten") else "gap"
    chosen = name if name != "auto" else own
    return "mean" if chosen == "cls" and tokens and headless else chosen


def positions(activation: Tensor, how: str, channels: int, prefix: int, picture: tuple[int, ...] = ()) -> Tensor | None:
    """Every token or pixel of an activation apart, features last; None if it has none. No copy is made.

    Parameters
    ----------
    activation : Tensor
        Shape ``(n, ...)``.
    how : {"tokens", "pixels"}
    channels : int
        Axis of the features.
    prefix : int
        Tokens in front that are none of the input's.
    picture : tuple of int
        Height and width of the label maps: tokens are pixels where they fill a grid of that form.

    Returns
    -------
    Tensor or None
        Shape ``(n, tokens, d)`` or ``(n, h, w, d)``.
    """
    if _is_tokens(activation.ndim, channels):
        apart = activation[:, prefix:]
        if how == "tokens":
            return apart
        grid = _grid_like(apart.shape[1], picture)
        return None if grid is None else apart.unflatten(1, grid)
    if how == "tokens" or activation.ndim != 4:
        return None
    return activation.movedim(channels, -1)


def is_tokens(layer: Layer) -> bool:
    """Whether a layer's activation is a sequence of tokens, ``(n, tokens, d)``."""
    return _is_tokens(len(layer.shape) + 1, layer.channels)


def reduce(activation: Tensor, how: str, channels: int, tokens: Tokens) -> Tensor:
    """Reduce an activation to one row of features a sample.

    Parameters
    ----------
    activation : Tensor
        Shape ``(n, ...)``.
    how : str
        ``gap``: mean over all positions; ``mean``, ``max``: over tokens, without padding and prefix tokens; ``cls``:
        the first real token; ``last``: the last real token; ``eos``: the token that ends the text, the only one in the
        mask; ``grid:k``: means over a k x k grid; ``flatten``: as it is.
    channels : int
        Axis of the features.
    tokens : Tokens
        Mask and prefix of the batch.

    Returns
    -------
    Tensor
        Shape ``(n, d)``; means are at least single precision.

    Raises
    ------
    InvalidData
        If the activation has no tokens, or no grid, to reduce over.
    """
    if activation.ndim == 1:
        return activation[:, None]
    if activation.ndim == 2:
        return activation
    if how == "flatten":
        return activation.flatten(1)
    if how.startswith("grid:"):
        return _grid(activation, int(how[5:]), channels, tokens.prefix)
    if not _is_tokens(activation.ndim, channels):
        if how in ("cls", "last", "eos"):
            raise InvalidData(f"reduction {how!r} needs tokens; the activation has shape {tuple(activation.shape)}")
        return _max_positions(activation, channels) if how == "max" else _mean_positions(activation, channels)
    if how == "gap":
        return _mean_positions(activation, channels)
    mask = _real_tokens(activation, tokens)
    if how == "mean":
        return _mean_tokens(activation, mask, tokens.prefix)
    if how == "max":
        return _max_tokens(activation, mask, tokens.prefix)
    if mask is None:
        return activation[:, 0 if how == "cls" else -1]
    position = torch.arange(activation.shape[1], device=activation.device)
    place = (mask != 0).int().argmax(1) if how == "cls" else ((mask != 0) * position).argmax(1)
    return activation[torch.arange(len(activation), device=activation.device), place]


def _grid_like(count: int, picture: tuple[int, ...]) -> tuple[int, int] | None:
    """Height and width of so many tokens, cut from a picture of that form; None if they fill no such grid."""
    if len(picture) != 2:
        return None
    rows = max(round(math.sqrt(count * picture[0] / picture[1])), 1)
    return (rows, count // rows) if count and count % rows == 0 else None


def _is_tokens(ndim: int, channels: int) -> bool:
    return ndim == 3 and channels in (-1, 2)


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _mean_positions(activation: Tensor, channels: int) -> Tensor:
    kept = channels % activation.ndim
    positions = [axis for axis in range(1, activation.ndim) if axis != kept]
    return activation.mean(positions, dtype=_precise(activation.dtype))


def _max_positions(activation: Tensor, channels: int) -> Tensor:
    return activation.movedim(channels, -1).flatten(1, -2).amax(1)


def _real_tokens(activation: Tensor, tokens: Tokens) -> Tensor | None:
    """The mask over the activation's tokens; prefix tokens that it does not know, and an only token, are real."""
    if tokens.mask is None or activation.shape[1] == 1:
        return None
    mask = tokens.mask.to(activation.device)
    missing = activation.shape[1] - mask.shape[1]
    if missing == tokens.prefix and missing:
        mask = torch.cat([mask.new_ones(len(mask), missing), mask], dim=1)
    elif missing:
        raise InvalidData(
            f"the attention mask has {mask.shape[1]} tokens, the layer has {activation.shape[1]}; "
            "choose reduce='gap' for layers of another length than the input"
        )
    return mask


def _mean_tokens(activation: Tensor, mask: Tensor | None, prefix: int) -> Tensor:
    activation = activation[:, prefix:]
    if mask is None:
        return activation.mean(1, dtype=_precise(activation.dtype))
    weight = mask[:, prefix:].to(_precise(activation.dtype))
    # A product with 0 would keep NaN that lies in the padding.
    kept = torch.where(weight[..., None] > 0, activation.to(weight.dtype), 0.0)
    return kept.sum(1) / weight.sum(1, keepdim=True).clamp_min(1.0)


def _max_tokens(activation: Tensor, mask: Tensor | None, prefix: int) -> Tensor:
    activation = activation[:, prefix:]
    if mask is None:
        return activation.amax(1)
    real = mask[:, prefix:] != 0
    greatest = activation.masked_fill(~real[..., None], -torch.inf).amax(1)
    # A sample of nothing but padding has no greatest.
    return torch.where(real.any(1, keepdim=True), greatest, 0.0)


def _grid(activation: Tensor, size: int, channels: int, prefix: int) -> Tensor:
    if _is_tokens(activation.ndim, channels):
        patches = activation[:, prefix:]
        side = math.isqrt(patches.shape[1])
        if side * side != patches.shape[1]:
            raise InvalidData(f"reduction 'grid:{size}' needs a square of tokens; the layer has {patches.shape[1]}")
        activation = patches.transpose(1, 2).reshape(len(patches), -1, side, side)
    elif activation.ndim == 4 and channels in (-1, 3):
        activation = activation.permute(0, 3, 1, 2)
    elif activation.ndim != 4:
        raise InvalidData(f"reduction 'grid:{size}' needs a map; the activation has shape {tuple(activation.shape)}")
    return adaptive_avg_pool2d(activation.to(_precise(activation.dtype)), size).flatten(1)
