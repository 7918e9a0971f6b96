"""How fast the features of a layer change with the input; measured only where asked for by name."""

from __future__ import annotations

from functools import partial

import numpy as np

from layerwise.metrics.registry import metric
from layerwise.statistics.complexity import Complexity

__all__ = ["class_geometric_complexity", "geometric_complexity", "geometric_complexity_se"]

_LAYER = ("epoch", "split", "layer")
_complexity = partial(
    metric,
    units="feature^2/input^2",
    reference="Dherin 2022; Munn 2024",
    least_classes=1,
    default=False,
)


@_complexity("geometric complexity", direction="down", dims=_LAYER)
def geometric_complexity(complexity: Complexity) -> float:
    """Mean squared norm of the derivative with respect to the input, ``mean ||dh_i/dx_i||_F^2``; at least 0.

    For inputs of Gaussian classes of variance ``s^2`` in every direction, ``s^2 (GC_c + GC_k) / (2 ||mu_c - mu_k||^2)``
    bounds `cdnv` of the pair.
    """
    return complexity.mean


@_complexity(
    "standard error of the geometric complexity", direction="none", dims=_LAYER, measured_with="geometric_complexity"
)
def geometric_complexity_se(complexity: Complexity) -> float:
    """Standard error of `geometric_complexity` from the random directions, for the samples as they are; at least 0.

    It is 0 where the derivatives are exact.
    """
    return complexity.error


@_complexity("geometric complexity of a class", direction="down", dims=("epoch", "split", "target", "layer", "class"))
def class_geometric_complexity(complexity: Complexity) -> np.ndarray:
    """Mean squared norm of the derivative over the samples of a class, ``mean_{i in c} ||dh_i/dx_i||_F^2``."""
    return complexity.by_class
