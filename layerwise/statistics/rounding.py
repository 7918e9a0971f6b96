"""The rounding of features by the arithmetic that made them: the same floor for every pseudo-inverse.

A captured feature is rounded to a share ``u`` of its size. Along a unit direction ``v`` this is noise of the variance
``F u^2 sum_j v_j^2 mean(h_j^2)``, which includes the offset of the features. The largest variance of such noise over
``d`` directions in ``N`` samples is ``(1 + sqrt(d/N))^2`` times as large (Marchenko & Pastur 1967). Directions of the
features below it are noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Range", "noise_edge", "noise_share", "range_of"]

_EPS = float(np.finfo(np.float64).eps)
# Single and double precision accumulate in their own type: after a linear map of 256 features, the noise had ten times
# the variance of one rounding. Half types accumulate in single precision.
_SUMS = 16.0
_HALF = 2.0**-12


def noise_share(rounding: float) -> float:
    """Return the variance of the noise of a feature, in units of its mean square, ``F u^2``.

    Parameters
    ----------
    rounding : float
        ``u``, half the distance from 1 to the next number in the coarsest arithmetic that made the features.
    """
    return rounding**2 * (1.0 if rounding >= _HALF else _SUMS)


def noise_edge(directions: int, rows: float) -> float:
    """Return the largest variance of any direction of noise of variance one, ``(1 + sqrt(d/N))^2``."""
    return float((1 + np.sqrt(directions / rows)) ** 2)


@dataclass(frozen=True)
class Range:
    """The directions in which features vary by more than rounding; ``d`` features, ``r`` directions.

    Attributes
    ----------
    axes : ndarray
        Columns along which features have no covariance, in units of each feature's size, shape ``(d, r)``.
    spanning : ndarray
        Features equal `spanning` times their coordinates along `axes`, except for rounding; shape ``(d, r)``.
    variances : ndarray
        Variance along each axis, ascending, shape ``(r,)``.
    """

    axes: np.ndarray
    spanning: np.ndarray
    variances: np.ndarray

    @property
    def rank(self) -> int:
        """Number of directions."""
        return len(self.variances)

    @property
    def whitening(self) -> np.ndarray:
        """Columns along which features have the variance one and no covariance, shape ``(d, r)``."""
        return np.asarray(self.axes / np.sqrt(self.variances))


def range_of(covariance: np.ndarray, squares: np.ndarray, noise: float, samples: float) -> Range:
    """Find the directions of a covariance with more variance than rounding.

    The decomposition is in units of each feature's size, in which the noise is the same in all directions.

    Parameters
    ----------
    covariance : ndarray
        Shape ``(d, d)``.
    squares : ndarray
        ``mean h_j^2`` of every feature, shape ``(d,)``.
    noise : float
        Variance of the noise in units of `squares` (`noise_share`).
    samples : float
        ``N``.
    """
    scale = np.sqrt(np.where(squares > 0, squares, 1.0))
    values, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
    # The rounding of the decomposition itself is no direction either.
    floor = max(noise * noise_edge(len(values), samples), len(values) * _EPS * values[-1])
    kept = values > floor
    return Range(axes[:, kept] / scale[:, None], axes[:, kept] * scale[:, None], values[kept])
