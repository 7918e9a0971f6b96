"""Add padding to a batch, like its own and within the positions that the network has, and describe its treatment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from layerwise.adapters.protocol import Batch
from layerwise.errors import listed
from layerwise.features.reading import LayerReading
from layerwise.network.graph.records import Trace, reached_from
from layerwise.network.graph.shapes import key_of, slots_of
from layerwise.network.graph.variations import padded
from layerwise.network.mask_names import counted_masks, find_masks, named_inputs, named_tensors, true_of_real
from layerwise.network.network import Network

__all__ = ["Padding", "more_padding", "most_positions", "padding_of"]

# Names of the number of positions in configurations of networks.
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")


@dataclass(frozen=True)
class Padding:
    """Padding that was added to a batch: how many positions, and whether in front."""

    count: int
    left: bool

    def strip(self, features: Tensor) -> Tensor:
        """Return the features of the other positions, shape ``(n, positions, d)``."""
        return features[:, self.count :] if self.left else features[:, : features.shape[1] - self.count]


def more_padding(network: Network, batch: Batch) -> tuple[Batch, Padding] | None:
    """Add a quarter more positions to a batch, on the side where its padding is.

    Parameters
    ----------
    network : Network
    batch : Batch

    Returns
    -------
    (Batch, Padding) or None
        None where the batch has no mask, or the network has no more positions.
    """
    mask = batch.mask
    if mask is None:
        return None
    length = mask.shape[1]
    limit = most_positions(network.model, length)
    count = max(length // 4, 2) if limit is None else min(max(length // 4, 2), limit - length)
    if count < 1:
        return None
    left = bool(((mask[:, 0] == 0) & (mask[:, -1] != 0)).any())
    named = named_tensors(network.model, batch.inputs)
    has_padding = bool((mask == 0).any())
    fillers = {
        place: _filler(network, name, value)
        for place, (name, value) in enumerate(named)
        if not has_padding or value.shape != mask.shape or true_of_real(name, network.adapter.masks) is not None
    }
    longer = padded(batch, mask, count, left=left, fillers=fillers, names=[name for name, _ in named])
    return None if longer is None else (longer, Padding(count, left))


def padding_of(network: Network, traced: Trace, readings: Sequence[LayerReading], batch: Batch) -> str:
    """Describe what becomes of padding in the features of a batch, as a profile records it.

    Parameters
    ----------
    network : Network
    traced : Trace
        Trace of the network on a part of the batch.
    readings : sequence of LayerReading
    batch : Batch
    """
    named = named_inputs(network.model, batch.inputs)
    used = list(find_masks(named, network.adapter.masks, batch.size))
    counted = counted_masks(named, used)
    if counted:
        return (
            f"counted where only {listed([repr(name) for name in counted])} says which it is: masks are known as "
            f"{listed(list(network.adapter.masks))}"
        )
    if not used:
        return "no mask"
    fixed = _of_fixed_length(traced, named, batch, readings)
    exceptions = f", and counted, if there is any, in layers that follow no mask: {listed(fixed)}" if fixed else ""
    return f"left out by {listed([repr(name) for name in used])}{exceptions}"


def _of_fixed_length(
    traced: Trace, named: Mapping[str, Any], batch: Batch, readings: Sequence[LayerReading]
) -> list[str]:
    """List the layers made of masked inputs that have several positions, the number of which does not follow the mask.

    They may be latents, which have no padding, or tokens that the network itself pads to a fixed length.
    """
    assert batch.mask is not None
    masked = {
        key
        for place, (name, value) in enumerate(named.items())
        if isinstance(value, Tensor) and value.shape[:2] == batch.mask.shape
        for key in ((name,), (place,))
    }
    reached = reached_from(traced, {slot.value for slot in traced.inputs if slot.item in masked})
    values = slots_of(traced)
    return [
        reading.name
        for reading in readings
        if reading.layer.axes.masked == ()
        and sum(size > 1 for size in reading.layer.shape) > 1
        and values[key_of(reading.layer)] in reached
    ]


def most_positions(model: nn.Module, length: int) -> int | None:
    """Return the greatest length that a network has positions for, given one that it takes; None if unknown.

    Of several tables with that many positions the shortest counts: longer ones may belong to other inputs, such as
    pictures.
    """
    config: Any = getattr(model, "config", None)
    text = getattr(config, "text_config", config)
    configured = [getattr(text, name, None) for name in _POSITIONS]
    lengths = [number for number in configured if isinstance(number, int) and number > 0]
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding) and (last in ("wpe", "embed_positions") or "position_embedding" in last):
            # RoBERTa counts positions from the one after its padding's index.
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1
            lengths.append(module.num_embeddings - skipped)
    return min((positions for positions in lengths if positions >= length), default=None)


def _filler(network: Network, name: str, value: Tensor) -> float:
    """Return the value of padding in an input that has none yet."""
    real = true_of_real(name, network.adapter.masks)
    if real is not None:
        return 0 if real else float("-inf") if value.is_floating_point() else 1
    if name != "input_ids":
        return 0
    token = getattr(getattr(network.model, "config", None), "pad_token_id", None)
    return token if isinstance(token, int) and token >= 0 else 0
