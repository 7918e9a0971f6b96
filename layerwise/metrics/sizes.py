"""How much room numbers take for the moment while a metric is computed, in numbers of float64."""

from __future__ import annotations

from dataclasses import dataclass

from layerwise.metrics.pairs import BLOCK

__all__ = ["Sizes", "copies", "of_eigh", "of_pairs", "of_svd"]


@dataclass(frozen=True)
class Sizes:
    """What a metric of one layer is computed from.

    Attributes
    ----------
    classes : int
    features : int
        Of the layer.
    covariance : int
        Features that its covariance is of.
    """

    classes: int
    features: int
    covariance: int


def copies(sizes: Sizes) -> int:
    """Three copies of the class means, or of the covariance: what the arithmetic of most metrics takes."""
    return 3 * max(sizes.classes * sizes.features, sizes.covariance**2)


def of_svd(rows: int, columns: int) -> int:
    """A thin singular value decomposition: its copy of the matrix, both factors, and what LAPACK works in."""
    least = min(rows, columns)
    return rows * columns + least * (rows + columns) + 7 * least**2


def of_eigh(width: int) -> int:
    """An eigendecomposition: the vectors, the copy that is given back, and what LAPACK works in."""
    return 4 * width**2


def of_pairs(sizes: Sizes) -> int:
    """A block of pairs of classes, and the class means at norm one."""
    return 6 * min(sizes.classes**2, BLOCK) + 3 * sizes.classes * sizes.features
