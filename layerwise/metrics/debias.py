"""What compares classes, without what few samples do to it: means that lie apart, and features fitted to labels."""

from __future__ import annotations

import numpy as np

from layerwise.statistics.moments import Moments
from layerwise.statistics.noise import noise_of_means

__all__ = ["debiased_between", "debiased_fuzziness", "debiased_residuals"]


def debiased_between(moments: Moments, between: float, weights: np.ndarray, origin: np.ndarray) -> float:
    """``tr S_B`` without bias, from the biased one; zero where nothing is left.

    Parameters
    ----------
    moments : Moments
    between : float
    weights, origin : ndarray
        Weight of each class in ``S_B``, and in the global mean, shape ``(k,)`` each.
    """
    noise = noise_of_means(moments)
    # The diagonal of the errors' Gram matrix, of class means less their weighted mean.
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
    """``tr(S_W S_B^+)`` from Gram matrices of the class means that are each free of bias.

    With rows ``B = [sqrt(w_c) m_c]`` it is ``tr((B B^T)^{+2} B S_W B^T)``. The errors ``e_c`` of the class means add
    ``E e e^T = diag(tr Sigma_c / n_c)`` to the Gram matrix of the means, and that times `noise` to the form in ``S_W``:
    both are taken off. What is left of bias is that of the inverse of an unbiased estimate, second order in its error.

    Parameters
    ----------
    moments : Moments
    means : ndarray
        ``m_c`` in the span of the class means, shape ``(k, r)``.
    within : ndarray
        ``S_W`` there, divided by degrees of freedom, shape ``(r, r)``.
    weights, origin : ndarray
        Weight of each class in ``S_B``, and in the global mean, shape ``(k,)`` each.
    kept : ndarray of bool
        Which directions of ``S_B`` are kept, in the order of their variance.
    noise : float
        Variance within classes along the error of a class mean (`layerwise.statistics.noise_variance`).

    Returns
    -------
    float
        Infinite where a direction has nothing but sampling error.
    """
    rows = np.sqrt(weights)[:, None]
    # Within the directions that are kept: beside them lies the one that centring takes out.
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
    """What the classes leave unexplained of the variance of every discriminant direction, without what chance explains.

    As in the adjusted coefficient of determination (Ezekiel 1930), ``d`` features fitted to ``C`` classes leave too
    little by the factor ``(n - 1 - f)/(n - 1)``, ``f = max(d, C - 1)``: under labels by chance the debiased residuals
    are one in expectation. ``n`` is the number of samples N where every sample counts once. Other weights ``w_c`` of
    the class means give their errors the part of ``C / sum_c w_c/n_c`` samples: as far as a residual is of them, that
    counts.

    Parameters
    ----------
    covariance : Moments
        With the within-class covariance; directions without any variance do not count.
    ratios : ndarray
        Between-class over within-class variance of the directions that there are, ``(r,)``.
    weights : ndarray
        Weight of each class in ``S_B``, shape ``(k,)``.

    Returns
    -------
    ndarray
        Of each of the directions; NaN where there are no more samples than features.
    """
    counts, filled = covariance.counts, covariance.range.rank
    residuals = 1 / (1 + ratios)
    of_means = len(counts) / (weights / counts).sum()
    freedom = 1 / (residuals / of_means + (1 - residuals) / counts.sum()) - 1
    left = freedom - max(filled, len(counts) - 1)
    return np.where(left > 0, residuals * freedom / left, np.nan)
