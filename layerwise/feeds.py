"""Which linear map reads a layer: its weight as a matrix on the layer's reduced features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from layerwise.layers import Layer
from layerwise.offload import filled
from layerwise.trace import Call, Trace

__all__ = ["named_heads", "next_linear", "weight_matrix"]


def next_linear(trace: Trace, layers: Sequence[Layer]) -> dict[str, str]:
    """Path of the linear map or convolution that each layer feeds, by the layer's name.

    It reads the layer's tensor itself, or what modules without a weight matrix of their own (norms, activations,
    dropout) make of it. Layers that feed none are left out.
    """
    found = {}
    for layer in layers:
        call = next((call for call in trace.calls if (call.path, call.number) == (layer.path, layer.call)), None)
        if call is not None:
            path = next(_readers(trace, layer, call), None)
            if path is not None:
                found[layer.name] = path
    return found


def named_heads(trace: Trace, layers: Sequence[Layer]) -> dict[tuple[str, str], str]:
    """Path of the linear map that makes a named output of the network, by that name and the layer that feeds it.

    Of a network with a head for each target, which gives a mapping of their outputs.
    """
    made = {slot.value: call.path for call in trace.calls if call.leaf for slot in call.outputs}
    heads = {str(slot.item[0]): made.get(slot.value) for slot in trace.outputs if len(slot.item) == 1}
    found: dict[tuple[str, str], str] = {}
    for layer in layers:
        call = next((call for call in trace.calls if (call.path, call.number) == (layer.path, layer.call)), None)
        readers = set() if call is None else set(_readers(trace, layer, call))
        found |= {(name, layer.name): path for name, path in heads.items() if path is not None and path in readers}
    return found


def _readers(trace: Trace, layer: Layer, own: Call) -> Iterator[str]:
    """The linear maps that read the layer's tensor, or what norms, activations and dropout make of it."""
    slots = own.outputs if layer.side == "output" else own.inputs
    carried = {slot.value for slot in slots if slot.item == layer.item}
    for call in trace.calls:
        if not call.leaf or not carried & {slot.value for slot in call.inputs}:
            continue
        if trace.modules[call.path].matrix:
            yield call.path
        else:
            carried |= {slot.value for slot in call.outputs}


def weight_matrix(module: nn.Module, features: int) -> np.ndarray | None:
    """A linear map's weight, shape ``(out, features)``; of a convolution, what it does to a constant map.

    With what LoRA adds to it. None for modules that are neither, for quantised weights, and for maps of another width
    than the layer's reduced features.
    """
    base: Any = getattr(module, "base_layer", module)
    # GPT-2 keeps its linear maps transposed, in a class of its own.
    transposed = type(base).__name__ == "Conv1D"
    if not transposed and not isinstance(base, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return None
    with filled(base):
        weight: torch.Tensor = base.weight.detach()
        if weight.is_meta or weight.ndim < 2 or not weight.is_floating_point():
            return None
        matrix = weight.double().cpu()
    if base is not module:
        update = _update(module)
        if update is None:
            return None
        matrix = matrix + update
    matrix = matrix.flatten(2).sum(2) if matrix.ndim > 2 else matrix
    matrix = matrix.T if transposed else matrix
    return matrix.numpy() if matrix.shape[1] == features else None


def _update(tuned: Any) -> torch.Tensor | float | None:
    """What LoRA adds to the weight of the map that it wraps; None where it is no plain sum."""
    if not hasattr(tuned, "lora_A") or any(getattr(tuned, "use_dora", {}).values()):
        return None
    if tuned.merged or tuned.disable_adapters:
        return 0.0
    active = [name for name in tuned.active_adapters if name in tuned.lora_A]
    return sum((tuned.get_delta_weight(name).detach().double().cpu() for name in active), 0.0)
