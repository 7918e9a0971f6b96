"""The sampling error of class means: how much few samples add to the scatter of class means."""

from __future__ import annotations

import numpy as np

from layerwise.statistics.moments import Moments

__all__ = ["noise_of_means", "noise_variance", "unbiased"]


def noise_of_means(moments: Moments) -> np.ndarray:
    """Return the expected squared distance of each class mean from the true one, ``v_c / (n_c - 1)``, shape ``(k,)``.

    It is unbiased, since ``E v_c = (1 - 1/n_c) tr Sigma_c``; NaN for a class of one sample.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(moments.variances / (moments.counts - 1))


def unbiased(moments: Moments, weights: np.ndarray) -> float:
    """Return the factor that makes the within-class variance unbiased: a division by degrees of freedom.

    Parameters
    ----------
    moments : Moments
    weights : ndarray
        Weight of each class in ``S_W``, shape ``(k,)``.
    """
    biased = weights @ moments.variances
    return float(weights @ (noise_of_means(moments) * moments.counts) / biased) if biased > 0 else 1.0


def noise_variance(covariance: Moments, features: int) -> float:
    """Return the variance within classes along the sampling error of a class mean, ``tr(Sigma^2) / tr(Sigma)``.

    The sampling error has a covariance proportional to ``Sigma``. With an estimate ``S`` from ``f = N - k`` degrees of
    freedom, ``tr S^2`` is too large by ``(tr S)^2 / f`` (Srivastava 2005). A random projection from ``d`` to ``p``
    directions adds ``(tr S)^2 (1/p - 1/d)``. Both are subtracted.

    Parameters
    ----------
    covariance : Moments
        Moments with the within-class covariance, of the layer or of a random projection.
    features : int
        Width of the layer.
    """
    assert covariance.within is not None
    freedom = float(covariance.counts.sum() - len(covariance.counts))
    if freedom < 2:
        return np.nan
    within = unbiased(covariance, covariance.shares) * covariance.within
    trace, width = float(np.trace(within)), len(within)
    if trace == 0:
        return 0.0
    excess = 1 / freedom + 1 / width - 1 / features
    square = freedom**2 / ((freedom - 1) * (freedom + 2)) * (float((within**2).sum()) - trace**2 * excess)
    return max(square, 0.0) / trace
