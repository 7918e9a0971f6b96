"""Stacking of raw inputs for a network without preprocessing of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from layerwise.data.loading import stack_arrays
from layerwise.errors import InvalidData
from layerwise.runtime.notes import Notes
from layerwise.runtime.pixels import grey_picture

__all__ = ["Stacking"]


class Stacking:
    """Stacks raw inputs in the type that a network takes.

    If the network has an embedding, whole numbers are token ids; otherwise they become floats. Pictures become grey if
    the first layer with weights is a convolution of one channel.

    Parameters
    ----------
    model : Module

    Attributes
    ----------
    notes : Notes
        Lines on inputs that were changed.
    """

    def __init__(self, model: nn.Module) -> None:
        weighted = [item for item in model.modules() if next(item.parameters(recurse=False), None) is not None]
        first = next(iter(weighted), None)
        self.embeds = any(isinstance(item, (nn.Embedding, nn.EmbeddingBag)) for item in weighted)
        self.grey = isinstance(first, nn.Conv2d) and first.in_channels == 1
        self.notes = Notes()

    def __call__(self, raw: Sequence[Any]) -> Tensor:
        """Stack a batch.

        Raises
        ------
        InvalidData
            If the inputs are texts, or arrays of different shapes.
        """
        if isinstance(raw[0], (str, tuple)):
            raise InvalidData("the network takes numbers, and the data has texts; give a loader of what it takes")
        if self.grey:
            raw = [grey_picture(item, self.notes.add) if hasattr(item, "convert") else item for item in raw]
        batch = stack_arrays([np.asarray(item) for item in raw])
        return batch if self.embeds or batch.is_floating_point() or batch.is_complex() else batch.float()
