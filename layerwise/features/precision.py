"""How precisely a network computes: the rounding of the coarsest arithmetic that makes a layer's features."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import nn

from layerwise.finding.shapes import key_of, slots_of
from layerwise.finding.trace import Trace
from layerwise.layers import Layer

__all__ = ["roundings_of"]

# Products of single precision keep ten bits of their factors on cores that round them (TF32).
_TF32 = 2.0**-11


def roundings_of(model: nn.Module, traced: Trace, layers: Sequence[Layer]) -> dict[Layer, float]:
    """The relative rounding error of each layer: that of its coarsest arithmetic, times the square root of its depth.

    The coarsest of the types of the layer, of the weights, of autocast, and of products that are rounded on the way
    (TF32). The depth counts the weights that the network has met by then.

    Parameters
    ----------
    model : Module
    traced : Trace
    layers : sequence of Layer
        Those of the trace that are asked for.
    """
    weights = [value for value in model.parameters() if value.is_floating_point()]
    coarsest = max((_rounding(value.dtype) for value in weights), default=0.0)
    kinds = {value.device.type for value in weights} or {"cpu"}
    for kind in kinds:
        if torch.is_autocast_enabled(kind):
            coarsest = max(coarsest, _rounding(torch.get_autocast_dtype(kind)))
    if "cuda" in kinds and (torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32):
        coarsest = max(coarsest, _TF32)
    met = [call.start for call in traced.calls if call.leaf and traced.modules[call.path].matrix]
    calls = {(call.path, call.number): call for call in traced.calls}
    values = slots_of(traced)
    found = {}
    for layer in layers:
        call = calls[layer.path, layer.call]
        own = traced.values[values[key_of(layer)]].dtype
        before = bisect_left(met, call.stop if layer.side == "output" else call.start)
        found[layer] = max(coarsest, _rounding(getattr(torch, own))) * math.sqrt(max(before, 1))
    return found


def _rounding(dtype: torch.dtype) -> float:
    """Half the distance from 1 to the next number."""
    return torch.finfo(dtype).eps / 2 if dtype.is_floating_point or dtype.is_complex else 0.0
