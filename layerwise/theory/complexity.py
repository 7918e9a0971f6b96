"""The bound of geometric complexity on collapse: smooth layers cannot scatter Gaussian classes far."""

from __future__ import annotations

import numpy as np

from layerwise.arguments import checked
from layerwise.theory.ranges import positive, require

__all__ = ["cdnv_bound", "pair_cdnv"]


@checked()
def pair_cdnv(means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return the class-distance normalised variance of pairs, ``(v_i + v_j)/(2 ||mu_i - mu_j||^2)``, shape ``(K, K)``.

    The diagonal is NaN. The mean over pairs is the metric `cdnv` (Galanti, György & Hutter 2021).

    Parameters
    ----------
    means : ndarray
        Class means ``(K, d)`` at a layer.
    variances : ndarray
        ``v_k = E ||h - mu_k||^2`` in each class, shape ``(K,)``.
    """
    distances = ((means[:, None] - means[None]) ** 2).sum(-1)
    np.fill_diagonal(distances, np.nan)
    return np.asarray((variances[:, None] + variances[None]) / (2 * distances))


@checked()
def cdnv_bound(means: np.ndarray, complexities: np.ndarray, variance: float) -> np.ndarray:
    """Return the upper bound on the class-distance normalised variance of pairs, ``(K, K)``, NaN on the diagonal.

    For inputs of class k from a Gaussian with covariance ``s^2 I`` and any mean, and features ``h = f(x)`` of any layer
    with class means ``mu_k``::

        cdnv_ij <= s^2 (GC_i + GC_j) / (2 ||mu_i - mu_j||^2),   GC_k = E ||df/dx||_F^2  over class k

    by the Poincaré inequality of the Gaussian, ``v_k <= s^2 GC_k``, with equality for an affine f. The bound is on
    expectations: averages over samples meet it up to their sampling error.

    Assumes Gaussian classes of one isotropic variance (with another covariance, ``s^2`` is its largest eigenvalue), and
    f with square-integrable derivatives, which any network with Lipschitz activations has.

    Parameters
    ----------
    means : ndarray
        Class means of the features, shape ``(K, d)``.
    complexities : ndarray
        Geometric complexity of the layer on each class, shape ``(K,)``.
    variance : float
        ``s^2``.

    Raises
    ------
    OutOfRange
        If the variance is not positive or a complexity negative.

    References
    ----------
    Munn et al. 2024, The impact of geometric complexity on neural collapse in transfer learning.

    Examples
    --------
    >>> cdnv_bound(np.array([[0.0], [2.0]]), np.array([1.0, 3.0]), variance=0.5)
    array([[ nan, 0.25],
           [0.25,  nan]])
    """
    theorem = "the bound by geometric complexity (Munn 2024)"
    positive(theorem, variance=variance)
    require(bool((np.asarray(complexities) >= 0).all()), theorem, "complexities that are not negative")
    return pair_cdnv(means, variance * np.asarray(complexities, dtype=np.float64))
