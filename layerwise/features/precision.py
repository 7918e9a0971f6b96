"""How precisely a network computes: the rounding of the coarsest arithmetic that makes a layer's features."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import nn

from layerwise.network.graph.records import Trace
from layerwise.network.graph.shapes import key_of, slots_of
from layerwise.network.layer import Layer

__all__ = ["autocast_type", "coarsest_rounding", "rounding_of_arithmetic", "roundings_of"]

# Products of single precision keep ten bits of their factors on cores that round them (TF32).
_TF32 = 2.0**-11


def roundings_of(model: nn.Module, traced: Trace, layers: Sequence[Layer]) -> dict[Layer, float]:
    """Return the relative rounding error of each layer: that of its coarsest arithmetic, grown with its depth.

    The coarsest arithmetic is that of the type of the layer, of the weights, of autocast, or of products that are
    rounded on the way (TF32). It is multiplied by the square root of the depth, the number of weights that the network
    has used up to the layer.

    Parameters
    ----------
    model : Module
    traced : Trace
    layers : sequence of Layer
        Layers of the trace.
    """
    coarsest = rounding_of_arithmetic(model, traced, layers)
    weights = [call.start for call in traced.calls if call.leaf and traced.modules[call.path].matrix]
    calls = {(call.path, call.number): call for call in traced.calls}
    roundings = {}
    for layer in layers:
        call = calls[layer.path, layer.call]
        depth = bisect_left(weights, call.stop if layer.side == "output" else call.start)
        roundings[layer] = coarsest[layer] * math.sqrt(max(depth, 1))
    return roundings


def rounding_of_arithmetic(model: nn.Module, traced: Trace, layers: Sequence[Layer]) -> dict[Layer, float]:
    """Return the relative rounding error of the coarsest arithmetic that makes each layer, or of its type."""
    coarsest, values = coarsest_rounding(model), slots_of(traced)
    types = {layer: getattr(torch, traced.values[values[key_of(layer)]].dtype) for layer in layers}
    return {layer: max(coarsest, _rounding(dtype)) for layer, dtype in types.items()}


def coarsest_rounding(model: nn.Module) -> float:
    """Return the rounding error of the coarsest of weights, autocast, and products that are rounded on the way."""
    weights = [value for value in model.parameters() if value.is_floating_point()]
    roundings = [_rounding(value.dtype) for value in weights]
    for kind in {value.device.type for value in weights} or {"cpu"}:
        cast = autocast_type(kind)
        roundings += [] if cast is None else [_rounding(cast)]
        roundings += [_TF32] if kind == "cuda" and _rounds_to_tf32(model) else []
    return max(roundings, default=0.0)


def autocast_type(kind: str) -> torch.dtype | None:
    """Return the type of products under autocast on devices of a kind; None where autocast is off."""
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if on else None


def _rounds_to_tf32(model: nn.Module) -> bool:
    convolves = any(isinstance(module, nn.modules.conv._ConvNd) for module in model.modules())
    return torch.get_float32_matmul_precision() != "highest" or (convolves and bool(torch.backends.cudnn.allow_tf32))


def _rounding(dtype: torch.dtype) -> float:
    """Half the distance from 1 to the next number."""
    return torch.finfo(dtype).eps / 2 if dtype.is_floating_point or dtype.is_complex else 0.0
