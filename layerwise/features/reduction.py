"""Reductions: an activation ``(n, ...)`` becomes samples by features, ``(n, d)``, or keeps its positions."""

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

#: The reductions that keep every token or pixel.
DENSE = ("tokens", "pixels")

#: The reductions by name. ``grid:k`` and ``sketch:k`` take a number.
REDUCTIONS = ("auto", "gap", "grid:k", "cls", "mean", "max", "last", "eos", "flatten", "sketch:k", *DENSE)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch, as a reduction needs to know them.

    Attributes
    ----------
    mask : Tensor or None
        Mask of the activation's own positions, shape ``(n, positions)``: 0 for padding
        (`layerwise.features.masks.mask_of_layer`).
    prefix : int
        Class and register tokens in front of the tokens that come from the input.
    axes : tuple of int
        The axes of the activation that the mask covers.
    """

    mask: Tensor | None = None
    prefix: int = 0
    axes: tuple[int, ...] = (1,)


def check_reduction(name: str) -> None:
    """Refuse a name that is no reduction.

    Raises
    ------
    UnknownName
        If it is none; the error lists the reductions.
    """
    kind, _, number = name.partition(":")
    wants_number = f"{kind}:k" in REDUCTIONS
    is_number = number.isascii() and number.isdecimal() and len(number) < 7 and int(number) > 0
    if wants_number != is_number or (not wants_number and name not in REDUCTIONS):
        raise UnknownName("reduction", name, REDUCTIONS)


def reduction_of(layer: Layer, requested: str, pooling: str, *, headless: bool = False) -> str:
    """Return the reduction of a layer, with ``auto`` replaced: tokens and maps are reduced as the network pools them.

    A map is averaged unless the network takes its maximum or flattens it.

    Parameters
    ----------
    layer : Layer
    requested : str
        The reduction that the caller asked for.
    pooling : str
        How the network itself pools: ``"cls"``, ``"mean"``, ``"max"``, ``"last"``, ``"eos"``, ``"gap"`` or
        ``"flatten"``.
    headless : bool
        Whether this layer lacks the class token that others have: then its mean is taken instead.
    """
    if len(layer.shape) <= 1:
        return "flatten"
    tokens = is_tokens(layer)
    auto = pooling if tokens or pooling in ("max", "flatten") else "gap"
    reduction = auto if requested == "auto" else requested
    return "mean" if reduction == "cls" and tokens and headless else reduction


def positions(
    activation: Tensor, reduction: str, channels: int, prefix: int, picture: tuple[int, ...] = ()
) -> Tensor | None:
    """Return every token or pixel of an activation as a row, features last; a real activation is not copied.

    Parameters
    ----------
    activation : Tensor
        Shape ``(n, ...)``.
    reduction : {"tokens", "pixels"}
    channels : int
        Axis of the features.
    prefix : int
        Tokens in front that do not come from the input.
    picture : tuple of int
        Height and width of the label maps: tokens are pixels where they fill a grid of that form.

    Returns
    -------
    Tensor or None
        Shape ``(n, tokens, d)`` or ``(n, h, w, d)``; None if the activation has no tokens or pixels.
    """
    activation = real_features(activation, channels)
    if activation.ndim == 3:
        tokens = activation.movedim(channels, -1)[:, prefix:]
        if reduction == "tokens":
            return tokens
        grid = _grid_like(tokens.shape[1], picture)
        return None if grid is None else tokens.unflatten(1, grid)
    if reduction == "tokens" or activation.ndim != 4:
        return None
    return activation.movedim(channels, -1)


def is_tokens(layer: Layer) -> bool:
    """Return whether a layer's activation is a sequence of tokens, ``(n, tokens, d)``."""
    return _is_tokens(len(layer.shape) + 1, layer.channels)


def reduce(activation: Tensor, reduction: str, channels: int, tokens: Tokens) -> Tensor:
    """Reduce an activation to one row of features for each sample.

    Parameters
    ----------
    activation : Tensor
        Shape ``(n, ...)``.
    reduction : str
        ``gap``: mean over all positions but padding; ``mean``, ``max``: the same without prefix tokens; ``cls``:
        the first real token; ``last``: the last real token; ``eos``: the token that ends the text, the only one in the
        mask; ``grid:k``: means over a k x k grid; ``flatten``: all positions, side by side.
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
    if reduction == "flatten":
        return activation.flatten(1)
    if reduction.startswith("grid:"):
        return _grid(activation, int(reduction[5:]), channels, tokens.prefix)
    if not _is_tokens(activation.ndim, channels):
        if reduction in ("cls", "last", "eos"):
            shape = tuple(activation.shape)
            raise InvalidData(f"reduction {reduction!r} needs tokens; the activation has shape {shape}")
        return (_max if reduction == "max" else _mean)(activation, channels, tokens)
    if reduction == "gap":
        return _mean(activation, channels, tokens)
    if reduction in ("mean", "max"):
        mask = None if tokens.mask is None else tokens.mask[:, tokens.prefix :]
        rest = Tokens(mask, axes=(1,))
        return (_max if reduction == "max" else _mean)(activation[:, tokens.prefix :], channels, rest)
    mask = None if tokens.mask is None else tokens.mask.to(activation.device)
    if mask is None or (reduction == "cls" and tokens.prefix):
        return activation[:, 0 if reduction == "cls" else -1]
    position = torch.arange(activation.shape[1], device=activation.device)
    place = (mask != 0).int().argmax(1) if reduction == "cls" else ((mask != 0) * position).argmax(1)
    return activation[torch.arange(len(activation), device=activation.device), place]


def _grid_like(count: int, picture: tuple[int, ...]) -> tuple[int, int] | None:
    """Return height and width of a number of tokens cut from a picture of a form; None if they fill no such grid."""
    if len(picture) != 2:
        return None
    rows = max(round(math.sqrt(count * picture[0] / picture[1])), 1)
    return (rows, count // rows) if count and count % rows == 0 else None


def _is_tokens(ndim: int, channels: int) -> bool:
    return ndim == 3 and channels in (-1, 2)


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _mean(activation: Tensor, channels: int, tokens: Tokens) -> Tensor:
    """Return the mean over all real positions."""
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
    """Return the maximum over all real positions; 0 where a sample has none."""
    positions = _positions(activation, channels)
    real = _real(activation, positions, tokens)
    if real is None:
        return activation.amax(positions)
    return torch.where(real.amax(positions), activation.masked_fill(~real, -torch.inf).amax(positions), 0.0)


def _positions(activation: Tensor, channels: int) -> list[int]:
    kept = channels % activation.ndim
    return [axis for axis in range(1, activation.ndim) if axis != kept]


def _real(activation: Tensor, positions: list[int], tokens: Tokens) -> Tensor | None:
    """Return which positions are real, in a shape that broadcasts with the activation's; None where all are."""
    masked = [axis for axis in tokens.axes if axis in positions]
    if tokens.mask is None or not masked:
        return None
    mask = (tokens.mask != 0).to(activation.device)
    real = mask.new_ones(())
    for axis in masked:
        shape = [1] * activation.ndim
        shape[0], shape[axis] = mask.shape
        real = real & mask.reshape(shape)
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
