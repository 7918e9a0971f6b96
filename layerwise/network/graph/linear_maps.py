"""The linear maps around a layer: their names in a trace, and their weights on the layer's reduced features."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from layerwise.network.graph.map_weights import Weights
from layerwise.network.graph.records import Call, Operation, Slot, Trace
from layerwise.network.inference import evaluating
from layerwise.network.layer import Layer
from layerwise.network.weights import materialized
from layerwise.runtime.tensors import dense_values

__all__ = ["MIXING", "head_paths", "named_heads", "next_linear", "previous_linear", "weight_matrix", "weights_beside"]

# Functions of each feature alone: a layer made of them is still the only thing between two maps.
_ELEMENTWISE = {
    *("alias", "clamp", "clamp_min", "clone", "detach", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh"),
    *("leaky_relu", "log_sigmoid_forward", "mish", "relu", "relu6", "sigmoid", "silu", "softplus", "tanh"),
    *("threshold", "_to_copy"),
}
# Operations that mix features or samples, whatever their inputs are.
_PRODUCTS = ("mm", "mv", "convolution", "linear")
MIXING = ("mm", "mv", "dot", "attention", "convolution", "linear", "fft")


def next_linear(trace: Trace, layers: Sequence[Layer]) -> dict[str, tuple[str, ...]]:
    """Return the paths of the linear maps or convolutions that each layer feeds first, by the layer's name.

    They read the layer's tensor itself, or what norms, activations, pooling, dropout, cuts and permutations make of it,
    without a weight matrix. Several maps that read one tensor within one module (query, key and value of an attention,
    gate and value of an MLP) are returned together; of an attention and an MLP in parallel, the one that runs first.
    Layers that feed no map are left out.
    """
    readers = _first_readers(trace, layers)
    return {name: tuple(call.path for call in calls) for name, (calls, _) in readers.items()}


def previous_linear(trace: Trace, layers: Sequence[Layer]) -> dict[str, str]:
    """Return the path of the linear map that makes each layer, by the layer's name, if nothing else is in between.

    The layer's tensor is the output of that map and the input of the next one, itself or through functions of each
    feature alone: activations, dropout at rest, a change of type. Norms, pooling, sums, gates and changes of shape come
    in between. Other layers, and those that feed no map, are left out.
    """
    made_by = {made: operation for operation in trace.operations for made in operation.outputs}
    map_of = {slot.value: call.path for call in trace.calls if _is_map(trace, call) for slot in call.outputs}
    previous = {}
    for name, (calls, value) in _first_readers(trace, layers).items():
        read = _traced_back({value}, [slot.value for slot in calls[0].inputs], made_by)
        source = _traced_back(map_of, [value], made_by)
        if read is not None and source is not None:
            previous[name] = map_of[source]
    return previous


def _first_readers(trace: Trace, layers: Sequence[Layer]) -> dict[str, tuple[list[Call], int]]:
    """Return the calls that read each layer first, and the layer's own value, by the layer's name."""
    places = {(call.path, call.number): call for call in trace.calls}
    steps = list(_steps(trace))
    first = {}
    for layer in layers:
        call = places.get((layer.path, layer.call))
        if call is None:
            continue
        slots = call.outputs if layer.side == "output" else call.inputs
        for slot in slots:
            if slot.item == layer.item:
                readers = _readers(trace, steps[steps.index(call) :], slot.value)
                if readers:
                    itself = layer.side == "input" and call in readers
                    first[layer.name] = ([call] if itself else readers, slot.value)
    return first


def head_paths(trace: Trace, further: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the path of the linear map that makes each named output of the network, by that name.

    Parameters
    ----------
    trace : Trace
    further : mapping of str to str, optional
        Further names, and the output or the path of the linear map that each stands for.
    """
    made = {slot.value: call.path for call in trace.calls if call.leaf for slot in call.outputs}
    heads = {str(slot.item[0]): made.get(slot.value) for slot in trace.outputs if len(slot.item) == 1}
    heads |= {name: heads.get(output, output) for name, output in (further or {}).items()}
    return {name: path for name, path in heads.items() if path is not None}


def named_heads(
    trace: Trace, layers: Sequence[Layer], further: Mapping[str, str] | None = None
) -> dict[tuple[str, str], str]:
    """Return the path of the linear map that makes a named output, by that name and the layer that feeds the map.

    For a network with a head for each target, which returns a mapping of their outputs.

    Parameters
    ----------
    trace : Trace
    layers : sequence of Layer
    further : mapping of str to str, optional
        Further names, and the output or the path of the linear map that each stands for.
    """
    heads = head_paths(trace, further)
    fed: dict[tuple[str, str], str] = {}
    for layer in layers:
        call = next((call for call in trace.calls if (call.path, call.number) == (layer.path, layer.call)), None)
        readers = set() if call is None else set(_all_readers(trace, layer, call))
        fed |= {(name, layer.name): path for name, path in heads.items() if path in readers}
    return fed


def _all_readers(trace: Trace, layer: Layer, own_call: Call) -> Iterator[str]:
    """Yield all linear maps that read the layer's tensor, or what norms, activations and dropout make of it."""
    slots = own_call.outputs if layer.side == "output" else own_call.inputs
    carried = {slot.value for slot in slots if slot.item == layer.item}
    for call in trace.calls:
        if not call.leaf or not carried & {slot.value for slot in call.inputs}:
            continue
        if trace.modules[call.path].matrix:
            yield call.path
        else:
            carried |= {slot.value for slot in call.outputs}


def _steps(trace: Trace) -> Iterator[Call | Operation]:
    """Yield calls, and operations outside leaves, in the order in which they ran."""
    place = 0
    for call in [*trace.calls, None]:
        stop = len(trace.operations) if call is None else call.start
        for operation in trace.operations[place:stop]:
            if operation.call < 0 or not trace.calls[operation.call].leaf:
                yield operation
        place = max(place, stop)
        if call is not None:
            yield call


def _readers(trace: Trace, steps: Sequence[Call | Operation], value: int) -> list[Call]:
    """Return the calls of the first maps that read a value: one, or several of one module that read the same tensor."""
    carried = {value}
    for step in steps:
        if isinstance(step, Operation):
            owner = _lent(trace, step, carried)
            if owner:
                return [owner]
            if _keeps(trace, step, carried):
                carried.update(step.outputs)
            continue
        read = carried & {slot.value for slot in step.inputs}
        if read and _is_map(trace, step):
            maps = [call for call in trace.calls if call.parent == step.parent and _is_map(trace, call)]
            return [call for call in maps if read & {slot.value for slot in call.inputs}]
        if read and step.leaf:
            carried.update(slot.value for slot in step.outputs)
    return []


def _lent(trace: Trace, operation: Operation, carried: Collection[int]) -> Call | None:
    """Return the call that a product of a carried tensor with the weight of a module stands for; None for others.

    Some attentions take the weight of a child, and assemble its bias themselves.
    """
    read = [value for value in operation.inputs if value in carried]
    if not read or not any(word in operation.name for word in _PRODUCTS):
        return None
    made_by = {made: before for before in trace.operations for made in before.outputs}
    for value in operation.inputs:
        turned = made_by.get(value)
        weight = turned.inputs[0] if turned is not None and turned.name in ("t", "transpose", "permute") else value
        path = trace.owners.get(weight)
        if path is not None and trace.modules[path].matrix and len(trace.values[weight].shape) > 1:
            slots = (Slot((0,), read[0]),)
            return Call(path, 1, trace.modules[path].kind, True, operation.call, slots, (), 0, 0)
    return None


def _is_map(trace: Trace, call: Call) -> bool:
    """Return whether a call is of a module with a weight matrix that its input meets first."""
    if call.leaf:
        return trace.modules[call.path].matrix
    # torch's attention has the weights of its first maps itself; in self-attention they read one tensor.
    if call.kind != "MultiheadAttention" or not trace.modules[call.path].matrix:
        return False
    return len({slot.value for slot in call.inputs if slot.item in ((0,), (1,), ("query",), ("key",))}) == 1


def _keeps(trace: Trace, operation: Operation, carried: Collection[int]) -> bool:
    """Return whether an operation takes only carried tensors, and gains, masks and indices at most."""
    others = [value for value in operation.inputs if value not in carried]
    if len(others) == len(operation.inputs) or any(word in operation.name for word in MIXING):
        return False
    return all(not trace.values[value].floating or _is_gain(trace, value) for value in others)


def _is_gain(trace: Trace, value: int) -> bool:
    return value in trace.parameters and sum(size > 1 for size in trace.values[value].shape) < 2


def _traced_back(goals: Collection[int], values: Sequence[int], made_by: Mapping[int, Operation]) -> int | None:
    """Return the goal that one of the values is, or is a function of each feature of; None where there is none."""
    for value in values:
        while value not in goals:
            operation = made_by.get(value)
            if operation is None or len(operation.inputs) != 1 or operation.name.rstrip("_") not in _ELEMENTWISE:
                break
            value = operation.inputs[0]
        if value in goals:
            return value
    return None


def weights_beside(model: nn.Module, reading: Sequence[str], giving: str | None, features: int) -> Weights | None:
    """Return the weights of the maps around a layer; None where its reader is no matrix on its reduced features.

    Parameters
    ----------
    model : Module
    reading : sequence of str
        Paths of the maps that read the layer; their matrices are stacked.
    giving : str or None
        Path of the map that makes the layer.
    features : int
        The layer's features after reduction.
    """
    with evaluating(model):
        # Spectral norm takes a step whenever a weight is read in training mode.
        return _weights_beside(model, reading, giving, features)


def _weights_beside(model: nn.Module, reading: Sequence[str], giving: str | None, features: int) -> Weights | None:
    modules = [model.get_submodule(path) for path in reading]
    matrices = [matrix for module in modules if (matrix := weight_matrix(module, features)) is not None]
    if not matrices or len(matrices) < len(modules):
        return None
    made_by = None if giving is None else _matrix(model.get_submodule(giving))
    return Weights(
        reading=np.concatenate(matrices) if len(matrices) > 1 else matrices[0],
        giving=made_by if made_by is not None and len(made_by) == features else None,
        resolution=max(_resolution(module) for module in modules),
    )


def weight_matrix(module: nn.Module, features: int) -> np.ndarray | None:
    """Return a linear map's weight, shape ``(out, features)``; for a convolution, its effect on a constant map.

    What LoRA adds is included; query, key and value of torch's attention are stacked. None for modules that are none of
    these, for weights that are kept as integers, and for maps of another width than the layer's reduced features.
    """
    matrix = _matrix(module)
    return matrix if matrix is not None and matrix.shape[1] == features else None


def _matrix(module: nn.Module) -> np.ndarray | None:
    base: Any = getattr(module, "base_layer", module)
    # GPT-2 keeps its linear maps transposed, in a class of its own.
    transposed = type(base).__name__ == "Conv1D"
    packed = isinstance(base, nn.MultiheadAttention)
    if not (transposed or packed or isinstance(base, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))):
        return None
    with materialized(base):
        weight: torch.Tensor | None = base.in_proj_weight if packed else base.weight
        if weight is None or weight.is_meta or weight.ndim < 2 or not weight.is_floating_point():
            return None
        matrix = dense_values(weight).cpu().double()
    if base is not module:
        update = _update(module)
        if update is None:
            return None
        matrix = matrix + update
    matrix = matrix.flatten(2).sum(2) if matrix.ndim > 2 else matrix
    return (matrix.T if transposed else matrix).numpy()


def _resolution(module: nn.Module) -> float:
    """Return the machine epsilon of the type that a map's weights are kept in."""
    weights = (*module.parameters(), *module.buffers())
    return max(torch.finfo(weight.dtype).eps for weight in weights if weight.is_floating_point())


def _update(tuned: Any) -> torch.Tensor | float | None:
    """Return what LoRA adds to the weight of the map that it wraps; None where it is no plain sum."""
    if not hasattr(tuned, "lora_A") or any(getattr(tuned, "use_dora", {}).values()):
        return None
    if tuned.merged or tuned.disable_adapters:
        return 0.0
    active = [name for name in tuned.active_adapters if name in tuned.lora_A]
    return sum((tuned.get_delta_weight(name).detach().cpu().double() for name in active), 0.0)
