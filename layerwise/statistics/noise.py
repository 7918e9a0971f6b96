"""How much variance a class mean's own sampling error meets: what few samples add to the scatter of class means."""

from __future__ import annotations

import numpy as np

from layerwise.statistics.moments import Moments

__all__ = ["noise_of_means", "noise_variance", "unbiased"]


def noise_of_means(moments: Moments) -> np.ndarray:
    """Expected squared distance of each class mean from the true one, ``v_c / (n_c - 1)``, shape ``(k,)``.

    Without bias, since ``E v_c = (1 - 1/n_c) tr Sigma_c``; NaN for a class of one sample.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(moments.variances / (moments.counts - 1))


def unbiased(moments: Moments, weights: np.ndarray) -> float:
    """Factor by which the within-class variance is to be multiplied, so that it divides by degrees of freedom.

    Parameters
    ----------
    moments : Moments
    weights : ndarray
        Weight of each class in ``S_W``, shape ``(k,)``.
    """
    biased = weights @ moments.variances
    return float(weights @ (noise_of_means(moments) * moments.counts) / biased) if biased > 0 else 1.0


def noise_variance(covariance: Moments, features: int) -> float:
    """Variance within classes along the sampling error of a class mean, ``tr(Sigma^2) / tr(Sigma)``.

    Sampling error spreads as ``Sigma`` does. Of the estimate from ``f = N - k`` degrees of freedom ``tr S^2`` is too
    large by ``(tr S)^2 / f`` (Srivastava 2005), and on a random projection from ``d`` to ``p`` directions by
    ``(tr S)^2 (1/p - 1/d)``; both are taken off.

    Parameters
    ----------
    covariance : Moments
        With the within-class covariance; of a projection, perhaps.
    features : int
        Width of the layer itself.
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
