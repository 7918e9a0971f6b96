"""The weights of the linear maps that read and make a layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Weights"]

# Squares of singular values are exact to 1e-15 of the largest, and so to eight digits unless one is below this share.
_WELL_CONDITIONED = 1e-7


@dataclass(frozen=True)
class Weights:
    """The linear maps around a layer of ``d`` features.

    Attributes
    ----------
    reading : ndarray
        Weight of the map that reads the layer, shape ``(out, d)``.
    giving : ndarray or None
        Weight of the map that makes the layer, shape ``(d, in)``; None without one, or where something is in between.
    resolution : float
        Machine epsilon of the type that `reading` is kept in.
    """

    reading: np.ndarray
    giving: np.ndarray | None = None
    resolution: float = float(np.finfo(np.float64).eps)

    @cached_property
    def decomposition(self) -> tuple[np.ndarray, np.ndarray]:
        """Singular values of `reading`, descending, ``(r,)``, and the directions that it reads, as rows ``(r, d)``."""
        # For maps of full rank this takes a fifth of the time of a singular value decomposition.
        out, width = self.reading.shape
        rows = self.reading if out < width else self.reading.T
        squares, axes = np.linalg.eigh(rows @ rows.T)
        if squares[0] > _WELL_CONDITIONED * squares[-1]:
            values, axes = np.sqrt(squares[::-1]), axes.T[::-1]
            return values, axes if rows is not self.reading else axes @ rows / values[:, None]
        _, values, directions = np.linalg.svd(self.reading, full_matrices=False)
        return values, directions

    @property
    def spectrum(self) -> np.ndarray:
        """Singular values of `reading`, descending, shape ``(min(out, d),)``."""
        return self.decomposition[0]
