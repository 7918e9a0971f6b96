"""The working memory that a metric takes while it is computed, in numbers of float64."""

from __future__ import annotations

from dataclasses import dataclass

from layerwise.metrics.pairs import BLOCK

__all__ = ["Sizes", "copies", "of_eigh", "of_pairs", "of_svd"]


@dataclass(frozen=True)
class Sizes:
    """The sizes of the statistics that a metric of one layer is computed from.

    Attributes
    ----------
    classes : int
    features : int
        Features of the layer.
    covariance : int
        Features that the covariance has; fewer than the layer's where that is projected.
    """

    classes: int
    features: int
    covariance: int


def copies(sizes: Sizes) -> int:
    """Three copies of the class means, or of the covariance: enough for the arithmetic of most metrics."""
    return 3 * max(sizes.classes * sizes.features, sizes.covariance**2)


def of_svd(rows: int, columns: int) -> int:
    """Workspace of a thin singular value decomposition: a copy of the matrix, both factors, and that of LAPACK."""
    least = min(rows, columns)
    return rows * columns + least * (rows + columns) + 7 * least**2


def of_eigh(width: int) -> int:
    """Workspace of an eigendecomposition: the vectors, the copy that is returned, and that of LAPACK."""
    return 4 * width**2


def of_pairs(sizes: Sizes) -> int:
    """Workspace of a block of pairs of classes, and of the class means at norm one."""
    return 6 * min(sizes.classes**2, BLOCK) + 3 * sizes.classes * sizes.features
