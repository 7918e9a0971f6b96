"""Features of chosen layers with their gradients, read within the forwards of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidArgument, InvalidData
from layerwise.features.choose_readings import readings_of
from layerwise.features.end import token_ids
from layerwise.features.reading import LayerReading
from layerwise.network.capture import Capture
from layerwise.network.graph.axes import measured_trace
from layerwise.network.graph.blocks import Chosen, choose
from layerwise.network.graph.recorder import tensors
from layerwise.network.inference import fresh_autocast
from layerwise.network.layer import Layer
from layerwise.network.mask_names import named_inputs, named_tensors, with_masks
from layerwise.network.network import Network
from layerwise.network.resolve import find_network

__all__ = ["TrainingFeatures"]


class TrainingFeatures:
    """Reads the features of chosen layers from every forward with gradients.

    Parameters
    ----------
    model : Module
    layers : str, sequence of str or callable
        As for `layerwise.profile`; they are chosen in the first forward.
    reduce : str
    first : int
        The first of the chosen layers that is read, counted from 0.
    wanted : callable
        Whether the next forward is to be read.

    Attributes
    ----------
    chosen : int
        How many layers are chosen; 0 before the first forward.
    """

    def __init__(self, model: nn.Module, layers: Chosen, reduce: str, first: int, wanted: Callable[[], bool]) -> None:
        self.chosen = 0
        self._asked, self._reduce, self._first, self._wanted = layers, reduce, first, wanted
        self._network, _ = find_network(model, None)
        self._readings: dict[Layer, LayerReading] = {}
        self._features: dict[str, Tensor] = {}
        self._mask: Tensor | None = None
        self._masks: Mapping[str, Tensor] = {}
        self._size = 0
        self._ids: Tensor | None = None
        self._hooks = ExitStack()
        # Open from the beginning of a forward to its end.
        self._forward: ExitStack | None = None
        self._capture: Capture | None = None

    @property
    def layers(self) -> list[str]:
        """Names of the layers that are read, in execution order."""
        return [layer.name for layer in self._readings]

    def open(self) -> None:
        """Add the hook that every forward begins with."""
        handle = self._network.model.register_forward_pre_hook(self._begin, with_kwargs=True)
        self._hooks.callback(handle.remove)

    def close(self) -> None:
        """Remove all hooks."""
        self._hooks.close()
        self._features.clear()
        self._forward = self._capture = None

    def take(self) -> dict[str, Tensor]:
        """Return the features of the last forward by layer, once; nothing if none was read since."""
        features, self._features = self._features, {}
        return features

    def _begin(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not torch.is_grad_enabled():
            return
        self._features = {}
        batch = _batch(self._network, args, kwargs)
        self._mask, self._masks, self._size = batch.mask, batch.masks, batch.size
        self._ids = token_ids(named_inputs(self._network.model, args) | dict(kwargs))
        if self._capture is None:
            self._capture = self._open(batch)
        self._forward = None
        if self._wanted():
            self._forward = ExitStack()
            self._forward.enter_context(self._capture.forward())

    def _end(self, *_: object) -> None:
        forward, self._forward = self._forward, None
        if forward is not None:
            forward.close()

    def _receive(self, layer: Layer, activation: Tensor) -> None:
        # Checkpointing runs layers again in the backward, after their features were taken.
        if self._forward is None:
            return
        if not torch.is_grad_enabled():
            raise InvalidData(
                f"layer {layer.name!r} runs without gradients, so no loss reaches it: choose others, or, where it is "
                "checkpointing that takes them off, use_reentrant=False"
            )
        rows = layer.samples_first(activation, self._size)
        features = self._readings[layer].read(rows, self._mask, self._ids, self._masks)
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        # An in-place operation after the layer must not change the features.
        shared = features.untyped_storage().data_ptr() == activation.untyped_storage().data_ptr()
        self._features[layer.name] = features.clone() if shared else features

    def _open(self, batch: Batch) -> Capture:
        """Choose the layers on the batch of the first forward, and add their hooks."""
        model = self._network.model
        with fresh_autocast():
            named = [name for part in batch.inputs.values() for name, _ in named_tensors(model, part)]
            traced = measured_trace(
                model, lambda part: model(*part.inputs["args"], **part.inputs["kwargs"]), batch, named
            )
            layers = choose(traced, self._asked, self._network.head)
            readings = readings_of(self._network, traced, layers, batch, self._reduce, seed=0)
        if self._first >= len(readings):
            names = ", ".join(layer.name for layer in layers)
            raise InvalidArgument(f"gamma={self._first} leaves none of the {len(layers)} layers: {names}")
        self.chosen = len(readings)
        self._readings = {reading.layer: reading for reading in readings[self._first :]}
        capture = self._hooks.enter_context(Capture(model, list(self._readings), self._receive, attached=True))
        # After those of the capture: the network itself may be a layer.
        self._hooks.callback(model.register_forward_hook(self._end).remove)
        return capture


def _batch(network: Network, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
    """Return the arguments of a forward as a batch without labels; the first tensor has a row for each sample."""
    size = next((len(tensor) for _, tensor in tensors((args, dict(kwargs))) if tensor.ndim), None)
    if size is None:
        raise InvalidData("the network was called without a tensor, so there are no samples to read")
    named = named_inputs(network.model, args) | dict(kwargs)
    return with_masks(Batch({"args": args, "kwargs": dict(kwargs)}, {}, size), named, network.adapter.masks)
