"""Choose the directions of the between-class scatter that stand above the rounding of the features."""

from __future__ import annotations

import numpy as np

from layerwise.statistics.moments import Moments
from layerwise.statistics.rounding import noise_edge

__all__ = ["above_rounding"]


def above_rounding(
    values: np.ndarray, axes: np.ndarray, moments: Moments, weights: np.ndarray, within: np.ndarray | None = None
) -> np.ndarray:
    """Choose the directions of ``S_B`` that its pseudo-inverse keeps, ``C - 1`` at most.

    The mean of ``n_c`` samples keeps ``1/n_c`` of the variance of their rounding. Where the samples of a class differ
    by less than rounding, all of them are rounded alike, and their mean keeps the whole variance.

    Parameters
    ----------
    values : ndarray
        Singular values of ``[sqrt(w_c) m_c]``, descending, shape ``(r,)``.
    axes : ndarray
        Their directions as rows, shape ``(r, d)``.
    moments : Moments
    weights : ndarray
        Weight ``w_c`` of each class in ``S_B``, shape ``(k,)``.
    within : ndarray, optional
        Variance within classes along each direction, shape ``(r,)``; by default as much as rounding makes.

    Returns
    -------
    ndarray of bool
        Whether each direction is kept, shape ``(r,)``.
    """
    count = len(moments.classes)
    noise = moments.noise * (axes**2 @ moments.squares)
    alike = 0.0 if within is None else (1 - within / np.where(noise > 0, noise, 1.0)).clip(min=0.0)
    in_means = float(weights @ (1 / moments.counts))
    floor = noise * (in_means + (1 - in_means) * alike) * noise_edge(axes.shape[1], count)
    rounded = (values[0] * count * np.finfo(np.float64).eps) ** 2
    return np.asarray((values**2 > np.maximum(floor, rounded)) & (np.arange(len(values)) < count - 1))
