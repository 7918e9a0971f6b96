"""Corrections for few samples: of the distances between class means, and of features fitted to labels."""

from __future__ import annotations

import numpy as np

from layerwise.statistics.moments import Moments
from layerwise.statistics.noise import noise_of_means

__all__ = ["debiased_between", "debiased_fuzziness", "debiased_residuals"]


def debiased_between(moments: Moments, between: float, weights: np.ndarray, origin: np.ndarray) -> float:
    """Correct ``tr S_B`` for the sampling error of the class means.

    Parameters
    ----------
    moments : Moments
    between : float
        ``tr S_B`` without the correction.
    weights, origin : ndarray
        Weight of each class in ``S_B``, and in the global mean, shape ``(k,)`` each.

    Returns
    -------
    float
        In ``[0, between]``; 0 where the sampling error explains all of it.
    """
    noise = noise_of_means(moments)
    # The diagonal of the Gram matrix of the errors, where the class means are less their weighted mean.
    errors = noise * (1 - 2 * origin) + (origin**2 * noise).sum()
    return max(between - float(weights @ errors), 0.0)


def debiased_fuzziness(
    moments: Moments,
    means: np.ndarray,
    within: np.ndarray,
    *,
    weights: np.ndarray,
    origin: np.ndarray,
    kept: np.ndarray,
    noise: float,
) -> float:
    """Compute ``tr(S_W S_B^+)`` from Gram matrices of the class means that are each free of bias.

    With rows ``B = [sqrt(w_c) m_c]`` it is ``tr((B B^T)^{+2} B S_W B^T)``. The errors ``e_c`` of the class means add
    ``E e e^T = diag(tr Sigma_c / n_c)`` to the Gram matrix of the means, and `noise` times that to the form in ``S_W``.
    Both are subtracted. The bias that remains is that of the inverse of an unbiased estimate, second order in its
    error.

    Parameters
    ----------
    moments : Moments
    means : ndarray
        ``m_c`` in the span of the class means, shape ``(k, r)``.
    within : ndarray
        ``S_W`` in that span, divided by degrees of freedom, shape ``(r, r)``.
    weights, origin : ndarray
        Weight of each class in ``S_B``, and in the global mean, shape ``(k,)`` each.
    kept : ndarray of bool
        Whether each direction of ``S_B`` is kept, in the order of their variance.
    noise : float
        Variance within classes along the error of a class mean (`layerwise.statistics.noise_variance`).

    Returns
    -------
    float
        In ``(-inf, inf]``; infinite where sampling error explains all of a direction.
    """
    rows = np.sqrt(weights)[:, None]
    # Only the directions that are kept: centring removes one of the others.
    left = np.linalg.svd(rows * means, full_matrices=False)[0][:, kept]
    along = left.T @ (rows * means)
    centring = (left * rows).T - (left.T @ rows) * origin
    error = (centring * noise_of_means(moments)) @ centring.T
    gram, form = along @ along.T - error, along @ within @ along.T - noise * error
    if not (np.isfinite(gram).all() and np.isfinite(form).all()):
        return np.nan
    values, axes = np.linalg.eigh(gram)
    if (values <= 0).any():
        return np.inf
    return float((np.einsum("ck,cl,lk->k", axes, form, axes) / values**2).sum())


def debiased_residuals(covariance: Moments, ratios: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Estimate the share of the variance of each discriminant direction that classes leave unexplained, without chance.

    ``d`` features fitted to ``C`` classes leave too little by the factor ``(n - 1 - f)/(n - 1)``, ``f = max(d, C -
    1)``, as in the adjusted coefficient of determination (Ezekiel 1930): under labels by chance the debiased residuals
    are one in expectation. Where every sample counts once, ``n`` is the number of samples N. Other weights ``w_c`` of
    the class means give their errors the weight of ``M = C / sum_c w_c/n_c`` samples; then ``1/n = r/M + (1 - r)/N``
    for a residual ``r``.

    Parameters
    ----------
    covariance : Moments
        With the within-class covariance; directions without any variance do not count.
    ratios : ndarray
        Between-class over within-class variance of each direction, shape ``(r,)``.
    weights : ndarray
        Weight of each class in ``S_B``, shape ``(k,)``.

    Returns
    -------
    ndarray
        One residual for each direction, shape ``(r,)``; NaN where there are no more samples than features.
    """
    counts, rank = covariance.counts, covariance.range.rank
    residuals = 1 / (1 + ratios)
    size_of_means = len(counts) / (weights / counts).sum()
    freedom = 1 / (residuals / size_of_means + (1 - residuals) / counts.sum()) - 1
    remaining = freedom - max(rank, len(counts) - 1)
    return np.where(remaining > 0, residuals * freedom / remaining, np.nan)
