"""A few sums of a network's features of its first batch, which show whether the network has changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.features.precision import autocast_type, coarsest_rounding
from layerwise.features.read_features import reading_features
from layerwise.features.reading import LayerReading
from layerwise.network.answer import Answer
from layerwise.network.network import Network

__all__ = ["FirstFeatures", "arithmetic_of", "changed_layers", "first_features"]

# Random signed sums of a layer's features: the root mean square of their differences is that of the features.
_SUMS = 16
_SAMPLES = 8
_POSITIONS = 4096

# Other kernels round otherwise in each of the operations between two layers.
_OPERATIONS = 8.0


class FirstFeatures:
    """Takes the features of one batch on their way to a pass, and keeps a few sums of them.

    Attributes
    ----------
    sums : dict of str to dict
        Type, shape, root mean square and sums of every layer and output, as plain data.
    """

    def __init__(self) -> None:
        self.sums: dict[str, dict[str, Any]] = {}
        self.ended = False

    def before(self, receive: Callable[[LayerReading, Tensor], None]) -> Callable[[LayerReading, Tensor], None]:
        """Return a function that takes the features in and hands them on to `receive`."""

        def take(reading: LayerReading, features: Tensor) -> None:
            self.take(reading, features)
            receive(reading, features)

        return take

    def take(self, reading: LayerReading, features: Tensor) -> None:
        """Take in the features of one layer, if they are the first batch's."""
        if not self.ended:
            self.sums[reading.name] = _sums(features)

    def end(self, answer: Answer) -> None:
        """Take in the network's own outputs; whatever follows belongs to another batch."""
        if self.ended:
            return
        self.ended = True
        # Scores of every token over a vocabulary are many; their predictions show as much.
        outputs = {name: values for name, values in answer.values.items() if values.ndim < 3}
        for name, values in outputs.items():
            self.sums[f"output {name}".strip()] = _sums(values)
        if answer.predicted is not None and not outputs:
            self.sums["predictions"] = _sums(answer.predicted)


def first_features(network: Network, readings: Sequence[LayerReading], batch: Batch) -> dict[str, dict[str, Any]]:
    """Run a batch for its features alone; return the sums of them."""
    taken = FirstFeatures()
    with reading_features(network, readings, taken.take) as run:
        taken.end(run(batch))
    return taken.sums


def changed_layers(
    before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]], network: Network
) -> list[str]:
    """Name the layers whose features of the same batch differ by more than rounding.

    The bound is the coarsest of the precisions of features, weights and autocast, times the square root of the depth.
    """
    if before.keys() != now.keys():
        return sorted(before.keys() ^ now.keys())
    coarsest = 2 * coarsest_rounding(network.model)
    return [
        name
        for depth, (name, one) in enumerate(before.items(), 1)
        if _differ(one, now[name], coarsest, _OPERATIONS * math.sqrt(depth))
    ]


def arithmetic_of(device: torch.device) -> list[str]:
    """Return the caller's choices for the precision of forwards on a device: autocast, and float32 products."""
    autocast = autocast_type(device.type) or "none"
    convolutions = torch.backends.cudnn.allow_tf32 if device.type == "cuda" else "none"
    return [f"autocast {autocast}", f"products {torch.get_float32_matmul_precision()}", f"tf32 {convolutions}"]


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], coarsest: float, operations: float) -> bool:
    if one["type"] != other["type"] or one["shape"] != other["shape"]:
        return True
    dtype = getattr(torch, one["type"])
    # Where two classes score alike, rounding decides which is predicted.
    precision = max(torch.finfo(dtype).eps, coarsest) * operations if dtype.is_floating_point else 0.05
    squares = [(first - second) ** 2 for first, second in zip(one["sums"], other["sums"], strict=True)]
    return bool(math.sqrt(sum(squares) / _SUMS) > precision * max(one["size"], other["size"]))


def _sums(features: Tensor) -> dict[str, Any]:
    few = features[:_SAMPLES].detach()
    few = torch.view_as_real(few).flatten(-2) if few.is_complex() else few
    few = few.reshape(-1, few.shape[-1])[:_POSITIONS] if few.ndim > 1 else few[:, None]
    values = few.cpu().double().nan_to_num(0.0, 0.0, 0.0)
    generator = torch.Generator().manual_seed(0)
    # One sign for each sample times one for each feature: a sign for every value.
    rows, columns = (_signs(length, generator) for length in values.shape)
    sums = ((rows @ values) * columns).sum(1) / math.sqrt(max(values.numel(), 1))
    return {
        "type": str(few.dtype).removeprefix("torch."),
        "shape": list(features.shape),
        "size": float(values.square().mean().sqrt()) if values.numel() else 0.0,
        "sums": sums.tolist(),
    }


def _signs(length: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, (_SUMS, length), generator=generator).double() * 2 - 1
