"""The span of one wide layer's samples, and where this process's own are in it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

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
