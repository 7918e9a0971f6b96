"""How fast the features of a layer change with the input. These metrics are measured only by name."""

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
    """Mean squared norm of the derivative of the features with respect to the input, ``mean ||dh_i/dx_i||_F^2``.

    For inputs of Gaussian classes of variance ``s^2`` in every direction, ``s^2 (GC_c + GC_k) / (2 ||mu_c - mu_k||^2)``
    bounds the `cdnv` of a pair of classes.

    Returns
    -------
    float
        In ``[0, inf)``; falls with collapse.

    References
    ----------
    Dherin 2022, arXiv:2209.13083; Munn 2024, arXiv:2405.15706.
    """
    return complexity.mean


@_complexity(
    "standard error of the geometric complexity", direction="none", dims=_LAYER, measured_with="geometric_complexity"
)
def geometric_complexity_se(complexity: Complexity) -> float:
    """Standard error of `geometric_complexity` that comes from its random directions; the samples are taken as fixed.

    Returns
    -------
    float
        In ``[0, inf)``; 0 where the derivatives are exact.

    References
    ----------
    Dherin 2022, arXiv:2209.13083; Munn 2024, arXiv:2405.15706.
    """
    return complexity.error


@_complexity("geometric complexity of a class", direction="down", dims=("epoch", "split", "target", "layer", "class"))
def class_geometric_complexity(complexity: Complexity) -> np.ndarray:
    """Mean squared norm of the derivative over the samples of a class, ``mean_{i in c} ||dh_i/dx_i||_F^2``.

    Returns
    -------
    ndarray
        In ``[0, inf)``, one number for each class; falls with collapse. NaN for a class without samples.

    References
    ----------
    Dherin 2022, arXiv:2209.13083; Munn 2024, arXiv:2405.15706.
    """
    return complexity.by_class
