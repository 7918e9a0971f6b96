"""Metrics of the linear maps around a layer alone: they depend on no sample, no split and no target."""

from __future__ import annotations

import numpy as np

from layerwise.metrics.registry import metric
from layerwise.network.graph.map_weights import Weights

__all__ = ["balancedness", "condition_number", "weight_stable_rank"]

_DIMS = ("epoch", "layer")


@metric("stable rank of the next linear map", direction="down", dims=_DIMS, least_classes=0, reference="Jacot 2024")
def weight_stable_rank(weights: Weights) -> float:
    """Squared norm of the linear map that reads the layer over that of its widest direction, ``||W||_F^2 / s_1^2``.

    A convolution is taken as its effect on a constant map, shape ``(out, in)``; query, key and value of an attention
    are stacked. The stable rank itself is that of Rudelson & Vershynin 2007, doi:10.1145/1255443.1255449.

    Returns
    -------
    float
        In ``[1, min(out, d)]``; falls towards ``C - 1`` or ``C`` with collapse, as the maps above a collapsed layer
        keep only the directions of the classes. NaN where the layer feeds no linear map.

    References
    ----------
    Jacot 2024, arXiv:2410.04887.
    """
    values = weights.spectrum
    return float((values**2).sum() / values[0] ** 2)


@metric(
    "condition number of the next linear map", direction="none", dims=_DIMS, least_classes=0, reference="Jacot 2024"
)
def condition_number(weights: Weights) -> float:
    """Largest over smallest singular value of the linear map that reads the layer, ``s_1 / s_r``.

    ``s_r`` is the smallest above ``s_1 eps(dtype of the weights)``: zeros of a map of low rank are left out. With
    weight decay, each map of a linear head of depth D has the D-th root of the condition number of the whole head.

    Returns
    -------
    float
        In ``[1, 1/eps]``; neither direction is collapse. NaN where the layer feeds no linear map.

    References
    ----------
    Jacot 2024, arXiv:2410.04887.
    """
    values = weights.spectrum
    return float(values[0] / values[values > values[0] * weights.resolution].min(initial=values[0]))


@metric("imbalance of the maps around a layer", direction="down", dims=_DIMS, least_classes=0, reference="Jacot 2024")
def balancedness(weights: Weights) -> float:
    """Distance between the Gram matrices of the map that reads a layer and of the map that makes it.

    ``||A - B||_F / sqrt(||A||_F^2 + ||B||_F^2)`` with ``A = W_{l+1}^T W_{l+1}`` and ``B = W_l W_l^T``, both ``(d, d)``.

    Returns
    -------
    float
        In ``[0, 1]``; falls with collapse. 0 where the maps are balanced, as gradient flow keeps them and weight decay
        makes them; 1 where they share no direction. NaN unless the tensor of the layer is the output of one linear map
        and the input of another, itself or through functions of each feature alone (activation, dropout). A norm, a
        pool, a residual sum, a gate or a change of shape on either side comes in between.

    References
    ----------
    Jacot 2024, arXiv:2410.04887.
    """
    if weights.giving is None:
        return np.nan
    # Both products come from the rows of one matrix, so that the difference is taken in the space of its smaller side.
    maps = np.concatenate([weights.reading, weights.giving.T])
    factor: np.ndarray = np.linalg.qr(maps.T, mode="r")  # type: ignore[assignment]
    first = len(weights.reading)
    reading, giving = factor[:, :first] @ factor[:, :first].T, factor[:, first:] @ factor[:, first:].T
    return float(np.linalg.norm(reading - giving) / np.hypot(np.linalg.norm(reading), np.linalg.norm(giving)))
