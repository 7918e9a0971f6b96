"""Which of the chosen layers feed a head: a run shows that the head reads their features unchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.errors import LayerwiseError
from layerwise.features.precision import coarsest_rounding
from layerwise.features.read_features import reading_features
from layerwise.features.reading import LayerReading
from layerwise.network.graph.blocks import choose
from layerwise.network.graph.head_inputs import layers_before
from layerwise.network.graph.records import Trace
from layerwise.network.layer import Layer
from layerwise.network.network import Network

__all__ = ["find_fed_heads"]

# Sums over positions in another order round differently.
_ROUNDINGS = 64.0


def find_fed_heads(
    network: Network,
    trace: Trace,
    readings: Sequence[LayerReading],
    heads: Sequence[str],
    batch: Batch,
    read: Callable[[Sequence[Layer]], Sequence[LayerReading]],
) -> set[tuple[str, str]]:
    """Find the heads that each layer feeds, by path of the head and name of the layer.

    A layer feeds a head where its features, as they are reduced, equal those that the head reads, reduced likewise: the
    input of the head itself, the norm or block before it, and maps that are pooled as the network pools them.

    Parameters
    ----------
    network : Network
    trace : Trace
    readings : sequence of LayerReading
        The layers that were chosen.
    heads : sequence of str
        Paths of linear maps.
    batch : Batch
        The samples that run.
    read : callable
        Returns the readings of layers, made as those of the chosen ones.
    """
    by_layer = {reading.layer: reading for reading in readings}
    inputs = {head: _inputs_of(trace, head, read) for head in heads}
    before = {head: layers_before(trace, list(by_layer), head) for head in heads if inputs[head]}
    wanted = {reading.layer: reading for head, layers in before.items() if layers for reading in inputs[head]}
    wanted |= {layer: by_layer[layer] for layers in before.values() for layer in layers}
    if not wanted:
        return set()
    features: dict[Layer, Tensor] = {}
    with reading_features(network, list(wanted.values()), _keeping(features)) as run:
        run(batch)
    rounding = _ROUNDINGS * coarsest_rounding(network.model)
    return {
        (head, layer.name)
        for head, layers in before.items()
        for layer in layers
        for head_input in (reading.layer for reading in inputs[head])
        if {layer, head_input} <= features.keys() and _same(features[layer], features[head_input], rounding)
    }


def _keeping(features: dict[Layer, Tensor]) -> Callable[[LayerReading, Tensor], None]:
    def keep(reading: LayerReading, values: Tensor) -> None:
        features[reading.layer] = values.detach().cpu().double()

    return keep


def _inputs_of(
    trace: Trace, head: str, read: Callable[[Sequence[Layer]], Sequence[LayerReading]]
) -> list[LayerReading]:
    try:
        return list(read(choose(trace, [f"{head}:input"])))
    except LayerwiseError:
        return []


def _same(one: Tensor, other: Tensor, rounding: float) -> bool:
    if one.shape != other.shape:
        return False
    scale = float(other.nan_to_num(0.0, 0.0, 0.0).abs().max()) if other.numel() else 0.0
    return bool(torch.allclose(one, other, rtol=0.0, atol=rounding * scale, equal_nan=True))
