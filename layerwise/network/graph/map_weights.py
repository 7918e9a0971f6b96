"""The weights of the linear maps that read and make a layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Weights"]

# Squares of singular values are known to about 1e-15 of the largest: with none below this share of it, to eight digits.
_WELL_CONDITIONED = 1e-7


@dataclass(frozen=True)
class Weights:
    """The linear maps beside a layer of ``d`` features.

    Attributes
    ----------
    reading : ndarray
        Of the map that reads the layer, shape ``(out, d)``.
    giving : ndarray or None
        Of the map that gives the layer, shape ``(d, in)``; None where there is none, or something is in between.
    resolution : float
        Machine epsilon of the type that `reading` is kept in.
    """

    reading: np.ndarray
    giving: np.ndarray | None = None
    resolution: float = float(np.finfo(np.float64).eps)

    @cached_property
    def decomposition(self) -> tuple[np.ndarray, np.ndarray]:
        """Singular values of `reading`, descending, ``(r,)``, and the directions that it reads, as rows ``(r, d)``."""
        # A fifth of the time of a singular value decomposition, for maps that are far from losing rank.
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
