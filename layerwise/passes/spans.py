"""The span of one wide layer's samples, and the coordinates of this process's samples in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from layerwise.statistics import Readout, TargetMoments
from layerwise.statistics.isometry import Isometry

__all__ = ["Span"]


class Span:
    """An isometry of one layer's samples, together with their features.

    Parameters
    ----------
    isometry : Isometry
        That of the samples of all processes.
    start, count : int
        This process's samples among them.
    features : callable
        Reads the features of all samples, shape ``(n, d)``.
    """

    def __init__(self, isometry: Isometry, start: int, count: int, features: Callable[[], Tensor]) -> None:
        self.isometry = isometry
        self.start = start
        self.count = count
        self._features = features

    @property
    def coordinates(self) -> Tensor:
        """The coordinates of this process's samples, shape ``(n, r + 1)``."""
        return self.isometry.coordinates[self.start : self.start + self.count]

    def lift(self, weights: Tensor) -> Tensor:
        """Turn the weights of a map of the coordinates into those of a map of the features."""
        return self.isometry.lift(weights, self._features())

    def lifted(self, readout: Readout) -> Readout:
        """Turn a readout of the coordinates into one of the features."""
        weight = self.lift(torch.from_numpy(readout.weight)).cpu().numpy()
        # The readout at the mean of the samples.
        middle = self.isometry.coordinates.mean(0).cpu().numpy()
        bias = readout.bias + (middle - readout.mean)[:-1] @ readout.weight[:-1]
        return Readout(self.isometry.mean.cpu().numpy(), weight, np.asarray(bias))

    def lowered(self, readout: Readout, moments: TargetMoments) -> Readout:
        """Turn a readout of the features into one of the coordinates of these samples, which have these moments."""
        weight = self.isometry.lower(torch.from_numpy(readout.weight), self._features()).cpu().numpy()
        middle = self.isometry.coordinates.mean(0).cpu().numpy()
        shift = (self.isometry.mean.cpu().numpy() - readout.mean) @ readout.weight
        bias = readout.bias + shift + (moments.mean - middle) @ weight
        return Readout(moments.mean, weight, np.asarray(bias))
