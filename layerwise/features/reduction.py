"""An activation becomes samples by features: ``(n, ...)`` to ``(n, d)``, or to ``(n, positions, d)``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from layerwise.errors import InvalidData, UnknownName
from layerwise.features.complex_features import real_features
from layerwise.network.layer import Layer

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
        Mask of the activation's own positions, shape ``(n, positions)``: 0 for padding
        (`layerwise.features.masks.mask_of_layer`).
    prefix : int
        Class and register tokens in front of the tokens that the input itself gives.
    axes : tuple of int
        The axes of the activation that the mask is of.
    """

    mask: Tensor | None = None
    prefix: int = 0
    axes: tuple[int, ...] = (1,)


def check_reduction(name: str) -> None:
    """Refuse a name that is no reduction.

    Raises
    ------
    UnknownName
        Naming the reductions that there are.
    """
    kind, _, number = name.partition(":")
    wants_number = f"{kind}:k" in REDUCTIONS
    is_number = number.isascii() and number.isdecimal() and len(number) < 7 and int(number) > 0
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
    """Every token or pixel of an activation apart, features last; None if it has none. No copy is made of real ones.

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
    activation = real_features(activation, channels)
    if activation.ndim == 3:
        apart = activation.movedim(channels, -1)[:, prefix:]
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
        ``gap``: mean over all positions but padding; ``mean``, ``max``: the same without prefix tokens; ``cls``:
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
    activation = real_features(activation, channels)
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
        return (_max if how == "max" else _mean)(activation, channels, tokens)
    if how == "gap":
        return _mean(activation, channels, tokens)
    if how in ("mean", "max"):
        mask = None if tokens.mask is None else tokens.mask[:, tokens.prefix :]
        own = Tokens(mask, axes=(1,))
        return (_max if how == "max" else _mean)(activation[:, tokens.prefix :], channels, own)
    mask = None if tokens.mask is None else tokens.mask.to(activation.device)
    if mask is None or (how == "cls" and tokens.prefix):
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


def _mean(activation: Tensor, channels: int, tokens: Tokens) -> Tensor:
    """The mean over all positions that are real."""
    positions = _positions(activation, channels)
    real = _real(activation, positions, tokens)
    if real is None:
        return activation.mean(positions, dtype=_precise(activation.dtype))
    weight = real.to(_precise(activation.dtype))
    # A product with 0 would keep NaN that lies in the padding.
    kept = torch.where(real, activation.to(weight.dtype), 0.0)
    repeated = math.prod(activation.shape[axis] for axis in positions if real.shape[axis] == 1)
    return kept.sum(positions) / (weight.sum(positions) * repeated).clamp_min(1.0)


def _max(activation: Tensor, channels: int, tokens: Tokens) -> Tensor:
    """The greatest over all positions that are real; 0 where a sample has none."""
    positions = _positions(activation, channels)
    real = _real(activation, positions, tokens)
    if real is None:
        return activation.amax(positions)
    return torch.where(real.amax(positions), activation.masked_fill(~real, -torch.inf).amax(positions), 0.0)


def _positions(activation: Tensor, channels: int) -> list[int]:
    kept = channels % activation.ndim
    return [axis for axis in range(1, activation.ndim) if axis != kept]


def _real(activation: Tensor, positions: list[int], tokens: Tokens) -> Tensor | None:
    """Which positions are real, in a form that goes with the activation's; None where all are."""
    masked = [axis for axis in tokens.axes if axis in positions]
    if tokens.mask is None or not masked:
        return None
    mask = (tokens.mask != 0).to(activation.device)
    real = mask.new_ones(())
    for axis in masked:
        form = [1] * activation.ndim
        form[0], form[axis] = mask.shape
        real = real & mask.reshape(form)
    return real


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
