"""The span of one wide layer's samples, and where this process's own are in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from layerwise.statistics import Readout, TargetMoments
from layerwise.statistics.isometry import Isometry

__all__ = ["Span"]


class Span:
    """An isometry of one layer's samples, beside the features that they are.

    Parameters
    ----------
    isometry : Isometry
        Of the samples of all processes.
    start, count : int
        This process's own among them.
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
        """Of this process's samples, shape ``(n, r + 1)``."""
        return self.isometry.coordinates[self.start : self.start + self.count]

    def lift(self, weights: Tensor) -> Tensor:
        """The weights of a map of the coordinates as those of a map of the features."""
        return self.isometry.lift(weights, self._features())

    def lifted(self, readout: Readout) -> Readout:
        """A readout of the coordinates as one of the features."""
        weight = self.lift(torch.from_numpy(readout.weight)).cpu().numpy()
        # What it gives for the mean of the samples.
        middle = self.isometry.coordinates.mean(0).cpu().numpy()
        bias = readout.bias + (middle - readout.mean)[:-1] @ readout.weight[:-1]
        return Readout(self.isometry.mean.cpu().numpy(), weight, np.asarray(bias))

    def lowered(self, readout: Readout, moments: TargetMoments) -> Readout:
        """A readout of the features as one of the coordinates of these samples, whose moments are given."""
        weight = self.isometry.lower(torch.from_numpy(readout.weight), self._features()).cpu().numpy()
        middle = self.isometry.coordinates.mean(0).cpu().numpy()
        apart = (self.isometry.mean.cpu().numpy() - readout.mean) @ readout.weight
        bias = readout.bias + apart + (moments.mean - middle) @ weight
        return Readout(moments.mean, weight, np.asarray(bias))
