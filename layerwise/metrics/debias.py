"""Between-class scatter without what the sampling error of the class means adds to it."""

from __future__ import annotations

import numpy as np

from layerwise.statistics.moments import Moments
from layerwise.statistics.noise import noise_of_means

__all__ = ["debiased_between", "debiased_fuzziness"]


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
    rank: int,
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
    rank : int
        Directions of ``S_B`` that are kept.
    noise : float
        Variance within classes along the error of a class mean (`layerwise.statistics.noise_variance`).

    Returns
    -------
    float
        Infinite where a direction has nothing but sampling error.
    """
    rows = np.sqrt(weights)[:, None]
    # Within the directions that are kept: beside them lies the one that centring takes out.
    kept = np.linalg.svd(rows * means, full_matrices=False)[0][:, :rank]
    along = kept.T @ (rows * means)
    centring = (kept * rows).T - (kept.T @ rows) * origin
    error = (centring * noise_of_means(moments)) @ centring.T
    gram, form = along @ along.T - error, along @ within @ along.T - noise * error
    if not (np.isfinite(gram).all() and np.isfinite(form).all()):
        return np.nan
    values, axes = np.linalg.eigh(gram)
    if (values <= 0).any():
        return np.inf
    return float((np.einsum("ck,cl,lk->k", axes, form, axes) / values**2).sum())
