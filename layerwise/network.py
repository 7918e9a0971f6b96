"""A model made ready to be measured: its adapter, its device, and how each chosen layer is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layerwise.adapters.protocol import Adapter, Batch
from layerwise.capture import Capture
from layerwise.errors import InvalidData
from layerwise.layers import Layer
from layerwise.nest import mapped
from layerwise.quiet import quiet
from layerwise.reduce import Tokens, reduce, reduction_of
from layerwise.sketch import Sketch

__all__ = ["Network", "Reading", "first_samples", "part_of", "readings_of"]


@dataclass(frozen=True)
class Reading:
    """A layer and how it is read.

    Attributes
    ----------
    layer : Layer
    reduction : str
        As `layerwise.reduce.reduce` takes it; never ``auto``.
    features : int
        Features after reduction and projection, ``d``.
    projection : Sketch or None
        The random projection that ``sketch:k`` asks for.
    """

    layer: Layer
    reduction: str
    features: int
    projection: Sketch | None = None

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def stated(self) -> str:
        """The reduction as the Dataset states it."""
        return f"sketch:{self.projection.width}" if self.projection else self.reduction

    def read(self, activation: Tensor, tokens: Tokens) -> Tensor:
        """Features of shape ``(n, d)`` from an activation.

        Raises
        ------
        InvalidData
            If they are not as many as in the first batch: a flattened layer of texts of unequal length, say.
        """
        features = reduce(activation, self.reduction, self.layer.channels, tokens)
        if self.projection is not None:
            features = self.projection(features)
        if features.shape[1] != self.features:
            raise InvalidData(
                f"layer {self.name!r} has {features.shape[1]:,} features in this batch and had {self.features:,}; "
                f"reduction {self.stated!r} needs inputs of one size, 'mean' or 'gap' do not"
            )
        return features


@dataclass(frozen=True)
class Network:
    """A model, the adapter that runs it, and where."""

    model: nn.Module
    adapter: Adapter
    device: torch.device

    @property
    def head(self) -> str | None:
        """Path of the module that makes the logits, as far as the adapter knows it."""
        return self.adapter.head(self.model)

    @contextmanager
    def reading(
        self, readings: Sequence[Reading], receive: Callable[[Reading, Tensor], None]
    ) -> Iterator[Callable[[Batch], Tensor | None]]:
        """Open the hooks; gives a function that runs a batch and returns its logits.

        Parameters
        ----------
        readings : sequence of Reading
        receive : callable
            Called with a reading and its features, shape ``(n, d)``, from within the forward.
        """
        by_layer = {reading.layer: reading for reading in readings}
        current = Tokens()
        size = 0

        def take(layer: Layer, activation: Tensor) -> None:
            if len(activation) != size:
                raise InvalidData(
                    f"layer {layer.name!r} gives {len(activation)} rows for a batch of {size} samples; "
                    "it does not keep samples apart and cannot be profiled"
                )
            receive(by_layer[layer], by_layer[layer].read(activation, current))

        with quiet(self.model), Capture(self.model, list(by_layer), take) as capture:

            def run(batch: Batch) -> Tensor | None:
                nonlocal current, size
                size = batch.size
                current = Tokens(batch.mask, self.adapter.prefix_tokens(self.model, batch))
                with capture.forward():
                    return self.adapter.logits(self.adapter.forward(self.model, batch))

            yield run

    def batches(self, loader: Any) -> Iterator[Batch]:
        """The loader's batches, split and moved to the device."""
        for raw in loader:
            yield self.adapter.batch(raw, self.device)


def readings_of(network: Network, layers: Sequence[Layer], batch: Batch, how: str, seed: int) -> list[Reading]:
    """How each layer is read: ``auto`` made definite, and the features counted.

    Parameters
    ----------
    network : Network
    layers : sequence of Layer
        As traced on a part of `batch`.
    batch : Batch
    how : str
        The reduction that the caller asked for.
    seed : int
        Of random projections.
    """
    tokens = Tokens(prefix=network.adapter.prefix_tokens(network.model, batch))
    pooling = network.adapter.pooling(network.model)
    readings = []
    for layer in layers:
        sketched = how.startswith("sketch:")
        reduction = reduction_of(layer, "flatten" if sketched else how, pooling)
        width = reduce(torch.empty(1, *layer.shape, device="meta"), reduction, layer.channels, tokens).shape[1]
        projection = Sketch(width, int(how[7:]), seed) if sketched and width > int(how[7:]) else None
        readings.append(Reading(layer, reduction, projection.width if projection else width, projection))
    return readings


def first_samples(batch: Batch, count: int) -> Batch:
    """A batch of the first samples of another."""
    return part_of(batch, 0, count)


def part_of(batch: Batch, start: int, stop: int) -> Batch:
    """A batch of the samples of another from `start` on, up to `stop` or its end."""
    stop = min(stop, batch.size)

    def part(values: Tensor) -> Tensor:
        return values[start:stop] if values.ndim and len(values) == batch.size else values

    labels = {target: part(values) for target, values in batch.labels.items()}
    return Batch(mapped(batch.inputs, part), labels, stop - start, None if batch.mask is None else part(batch.mask))
