"""Where padding enters the features of a network, and whether the mask should keep it out there."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.features.choose_readings import readings_of
from layerwise.features.company import SAMPLES, difference
from layerwise.features.padding import more_padding
from layerwise.features.precision import roundings_of
from layerwise.features.reading import LayerReading
from layerwise.network.capture import Capture
from layerwise.network.graph.blocks import all_calls
from layerwise.network.graph.records import Trace, reached_from
from layerwise.network.graph.shapes import Key, key_of, slots_of
from layerwise.network.graph.trace import trace
from layerwise.network.inference import evaluating
from layerwise.network.kept_state import kept_state
from layerwise.network.layer import Layer
from layerwise.network.mask_names import find_masks, named_inputs
from layerwise.network.network import Network
from layerwise.network.rows import with_rows

__all__ = ["Leak", "find_leak"]


@dataclass(frozen=True)
class Leak:
    """The first layer of a network whose features change with padding.

    Attributes
    ----------
    layer : str
    masked : bool
        Whether the mask should keep padding out: the layer depends on it, and its real positions change. If not, the
        network sees padding by design: speech encoders normalise over time before they take the mask, and some networks
        pool over all positions, or read the last one.
    left : bool
        Whether padding comes in front.
    """

    layer: str
    masked: bool
    left: bool


def find_leak(network: Network, traced: Trace, batch: Batch, share: float) -> Leak | None:
    """Find the first module whose features change by more than a share of their spread with more padding.

    Parameters
    ----------
    network : Network
    traced : Trace
        Trace of the network on a part of `batch`.
    batch : Batch
    share : float

    Returns
    -------
    Leak or None
        None where no single module shows it.
    """
    few = with_rows(batch, range(min(SAMPLES, batch.size)))
    longer = more_padding(network, few)
    if longer is None:
        return None
    layers = [layer for layer in all_calls(traced) if layer.keeps_samples]
    roundings = roundings_of(network.model, traced, layers)
    readings = readings_of(network, traced, layers, batch, "gap", seed=0)
    with kept_state(network.model):
        short, long = (_means(network, readings, part) for part in (few, longer[0]))
        masked = _from_mask(network, longer[0])
    for layer in layers:
        if layer in short and layer in long:
            values, other = (means[layer].flatten(1).cpu().double() for means in (short, long))
            if values.shape == other.shape and difference(other, values, values, roundings[layer]).exceeds(share):
                return Leak(layer.name, key_of(layer) in masked and bool(layer.axes.masked), longer[1].left)
    return None


def _means(network: Network, readings: list[LayerReading], batch: Batch) -> dict[Layer, Tensor]:
    """Return the means of all layers over their real positions, for the layers that can be read."""
    by_layer = {reading.layer: reading for reading in readings}
    means: dict[Layer, Tensor] = {}

    def take(layer: Layer, activation: Tensor) -> None:
        try:
            rows = layer.samples_first(activation, batch.size)
            means[layer] = by_layer[layer].read(rows, batch.mask, None, batch.masks).clone()
        except Exception:
            # A layer of another shape than was measured cannot be compared.
            return

    with evaluating(network.model), Capture(network.model, list(by_layer), take) as capture, capture.forward():
        network.adapter.forward(network.model, batch)
    return means


def _from_mask(network: Network, batch: Batch) -> set[Key]:
    """Return the inputs and outputs of modules that depend on the batch's mask."""
    traced = trace(network.model, lambda: network.adapter.forward(network.model, batch))
    named = named_inputs(network.model, batch.inputs)
    masks = find_masks(named, network.adapter.masks, batch.size)
    keys = {key for mask in masks for key in ((mask,), (list(named).index(mask),))}
    reached = reached_from(traced, {slot.value for slot in traced.inputs if slot.item in keys})
    return {key for key, value in slots_of(traced).items() if value in reached}
