"""Checks and sample counts of token- and pixel-level profiles."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData, InvalidLabels, NotRepeatable
from layerwise.features.reading import LayerReading
from layerwise.features.reduction import DENSE
from layerwise.network.layer import Layer
from layerwise.settings import Settings

__all__ = ["check_positions", "most_samples", "no_positions"]


def check_positions(
    settings: Settings, dimensions: Mapping[str, int], needs: Collection[str], *, repeatable: bool
) -> None:
    """Refuse data and settings that tokens and pixels do not have.

    Raises
    ------
    InvalidLabels
        For regression targets of pixels, or of tokens where samples of each class are to be drawn.
    InvalidData
        For geometric complexity.
    NotRepeatable
        If samples are to be drawn from loaders that run only once.
    """
    if settings.reduce not in DENSE:
        return
    for name in dimensions:
        if settings.reduce == "pixels":
            raise InvalidLabels(f"reduce='pixels' takes integers as labels; {name!r} is of floating type")
        if settings.samples_per_class is not None:
            raise InvalidLabels(
                f"samples_per_class draws tokens of each class, and {name!r} is of floating type, which has no classes"
            )
    if "complexity" in needs:
        raise InvalidData(f"geometric complexity is not there for reduce={settings.reduce!r}")
    if settings.samples_per_class is not None and not repeatable:
        raise NotRepeatable("samples_per_class takes a look at all labels first, and a loader runs only once")


def no_positions(reduce: str, layers: Sequence[Layer], batch: Batch) -> InvalidData:
    """Return the error for layers that have no tokens or pixels for the labels of a batch."""
    shapes = ", ".join(f"{layer.name} ({'x'.join(map(str, layer.shape))})" for layer in layers)
    shape = tuple(next(iter(batch.labels.values())).shape)
    return InvalidData(f"no layer has {reduce} for labels of shape {shape}; there are {shapes}")


def most_samples(settings: Settings, inputs: int | None, readings: Sequence[LayerReading], classes: int) -> int | None:
    """Return an upper bound on the samples of the largest split; None where none can be known.

    Parameters
    ----------
    settings : Settings
    inputs : int or None
        Texts, pictures or other inputs of the largest split.
    readings : sequence of LayerReading
    classes : int
    """
    if settings.reduce not in DENSE:
        return inputs
    finest = max(math.prod(reading.positions) for reading in readings)
    # Later texts may be longer than those of the first batch.
    positions = inputs * finest if inputs is not None and settings.reduce == "pixels" else None
    drawn = None if settings.samples_per_class is None else classes * settings.samples_per_class
    return min((count for count in (positions, drawn) if count is not None), default=None)
