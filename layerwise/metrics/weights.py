"""The linear maps beside a layer, by themselves: they know no sample, no split and no target."""

from __future__ import annotations

import numpy as np

from layerwise.metrics.registry import metric
from layerwise.network.graph.map_weights import Weights

__all__ = ["balancedness", "condition_number", "weight_stable_rank"]

_DIMS = ("epoch", "layer")


@metric("stable rank of the next linear map", direction="down", dims=_DIMS, least_classes=0, reference="Jacot 2024")
def weight_stable_rank(weights: Weights) -> float:
    """Squared norm of the linear map that reads the layer, in units of its widest direction's, ``||W||_F^2 / s_1^2``.

    In ``[1, min(out, d)]``; falls towards ``C - 1`` or ``C`` as the maps above a collapsed layer keep the directions of
    the classes alone. A convolution counts as what it does to a constant map, shape ``(out, in)``; query, key and value
    of an attention are stacked. NaN where the layer feeds no linear map. Rudelson & Vershynin 2007; Jacot et al. 2024.
    """
    values = weights.spectrum
    return float((values**2).sum() / values[0] ** 2)


@metric(
    "condition number of the next linear map", direction="none", dims=_DIMS, least_classes=0, reference="Jacot 2024"
)
def condition_number(weights: Weights) -> float:
    """Largest over smallest singular value of the linear map that reads the layer, ``s_1 / s_r``.

    ``s_r`` is the smallest above ``s_1 eps(dtype of the weights)``: a map of low rank is measured where it is not zero.
    In ``[1, 1/eps]``. With weight decay the maps of a linear head of depth D share out the conditioning of the whole,
    each has its D-th root. NaN where the layer feeds no linear map. Jacot et al. 2024.
    """
    values = weights.spectrum
    return float(values[0] / values[values > values[0] * weights.resolution].min(initial=values[0]))


@metric("imbalance of the maps around a layer", direction="down", dims=_DIMS, least_classes=0, reference="Jacot 2024")
def balancedness(weights: Weights) -> float:
    """How far the map that reads a layer is from answering the map that gives it.

    ``||A - B||_F / sqrt(||A||_F^2 + ||B||_F^2)`` with ``A = W_{l+1}^T W_{l+1}`` and ``B = W_l W_l^T``, both ``(d, d)``.
    In ``[0, 1]``: 0 where the maps are balanced, as gradient flow keeps them and weight decay makes them; 1 where they
    share no direction. NaN unless nothing but the layer is between the two: its tensor is what one linear map gives and
    another reads, itself or through functions of each feature alone (activation, dropout). A norm, a pool, a residual
    sum, a gate or a change of shape on either side is something in between. Jacot et al. 2024.
    """
    if weights.giving is None:
        return np.nan
    # Both products are of the rows of one matrix, so that their difference is taken in the space of the smaller side.
    maps = np.concatenate([weights.reading, weights.giving.T])
    factor: np.ndarray = np.linalg.qr(maps.T, mode="r")  # type: ignore[assignment]
    first = len(weights.reading)
    reading, giving = factor[:, :first] @ factor[:, :first].T, factor[:, first:] @ factor[:, first:].T
    return float(np.linalg.norm(reading - giving) / np.hypot(np.linalg.norm(reading), np.linalg.norm(giving)))
