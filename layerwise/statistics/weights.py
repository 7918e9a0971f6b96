"""The weights of the linear maps beside a layer: no statistic of samples, but as finished as one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Weights"]


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
        _, values, directions = np.linalg.svd(self.reading, full_matrices=False)
        return values, directions

    @property
    def spectrum(self) -> np.ndarray:
        """Singular values of `reading`, descending, shape ``(min(out, d),)``."""
        return self.decomposition[0]
