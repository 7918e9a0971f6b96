"""Between-class scatter without what the sampling error of the class means adds to it."""

from __future__ import annotations

import numpy as np

from layerwise.statistics.moments import Moments
from layerwise.statistics.noise import noise_of_means

__all__ = ["debiased_between", "debiased_distances", "debiased_fuzziness"]


def debiased_distances(moments: Moments, squares: np.ndarray) -> np.ndarray:
    """Squared distances between pairs of class means, ``||mu_c - mu_k||^2 - v_c/(n_c - 1) - v_k/(n_k - 1)``.

    Zero where nothing is left: means that lie no further apart than their own sampling error are not told apart.
    """
    first, second = np.triu_indices(len(moments.classes), 1)
    noise = noise_of_means(moments)
    return np.asarray((squares - noise[first] - noise[second]).clip(min=0.0))


def debiased_between(moments: Moments, between: float, weights: np.ndarray, origin: np.ndarray) -> float:
    """``tr S_B`` without bias, from the biased one; zero where nothing is left.

    Parameters
    ----------
    moments : Moments
    between : float
    weights, origin : ndarray
        Weight of each class in ``S_B``, and in the global mean, shape ``(k,)`` each.
    """
    return max(between - float(weights @ np.diag(_error_gram(moments, origin))), 0.0)


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
    error = _error_gram(moments, origin)
    gram = rows * (means @ means.T - error) * rows.T
    form = rows * (means @ within @ means.T - noise * error) * rows.T
    if not (np.isfinite(gram).all() and np.isfinite(form).all()):
        return np.nan
    # Within the directions that are kept: beside them lies the one that centring takes out.
    kept = np.linalg.svd(rows * means, full_matrices=False)[0][:, :rank]
    values, axes = np.linalg.eigh(kept.T @ gram @ kept)
    if (values <= 0).any():
        return np.inf
    axes = kept @ axes
    return float((np.einsum("ck,cl,lk->k", axes, form, axes) / values**2).sum())


def _error_gram(moments: Moments, origin: np.ndarray) -> np.ndarray:
    """Expected Gram matrix of the errors of the centred class means, shape ``(k, k)``."""
    centring = np.eye(len(origin)) - origin
    return np.asarray(centring @ (noise_of_means(moments)[:, None] * centring.T))
