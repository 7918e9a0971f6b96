"""Which directions of the scatter of class means stand above the rounding of the features."""

from __future__ import annotations

import numpy as np

from layerwise.statistics.moments import Moments
from layerwise.statistics.rounding import noise_edge

__all__ = ["above_rounding"]


def above_rounding(
    values: np.ndarray, axes: np.ndarray, moments: Moments, weights: np.ndarray, within: np.ndarray | None = None
) -> np.ndarray:
    """Choose the directions of ``S_B`` that its pseudo-inverse keeps, ``C - 1`` at most.

    The rounding of ``n_c`` samples leaves ``1/n_c`` of its variance in their mean. Where a class varies by less than
    rounding, its samples are rounded alike, and the mean as each of them.

    Parameters
    ----------
    values : ndarray
        Singular values, descending, of ``[sqrt(w_c) m_c]``, shape ``(r,)``.
    axes : ndarray
        Their directions as rows, shape ``(r, d)``.
    moments : Moments
    weights : ndarray
        ``w_c``, weight of each class in ``S_B``, shape ``(k,)``.
    within : ndarray, optional
        Variance within classes along each direction, shape ``(r,)``; as much as rounding, by default.

    Returns
    -------
    ndarray of bool
        Shape ``(r,)``.
    """
    count = len(moments.classes)
    noise = moments.noise * (axes**2 @ moments.squares)
    alike = 0.0 if within is None else (1 - within / np.where(noise > 0, noise, 1.0)).clip(min=0.0)
    apart = float(weights @ (1 / moments.counts))
    floor = noise * (apart + (1 - apart) * alike) * noise_edge(axes.shape[1], count)
    rounded = (values[0] * count * np.finfo(np.float64).eps) ** 2
    return np.asarray((values**2 > np.maximum(floor, rounded)) & (np.arange(len(values)) < count - 1))
