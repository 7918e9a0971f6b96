"""Linear heads of several layers on frozen features: conditioning, balance, and collapse of the layers between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from layerwise.arguments import checked
from layerwise.theory.ranges import positive, require

__all__ = ["LinearHead", "linear_head", "whitened_head"]


@dataclass(frozen=True, eq=False)
class LinearHead:
    """The limit of a head of D linear layers as its weight decay goes to zero.

    Attributes
    ----------
    product : ndarray
        Shape ``(K, d)``: the interpolator of least norm, which is the product of all layers.
    singular_values : ndarray
        Shape ``(r,)``: the singular values of every layer that are not zero, largest first.
    condition_number : float
        Ratio of the largest and the smallest.
    penalty : float
        ``1/2 sum ||W_l||^2``.
    """

    product: np.ndarray
    singular_values: np.ndarray
    condition_number: float
    penalty: float


@checked()
def linear_head(features: np.ndarray, targets: np.ndarray, depth: int) -> LinearHead:
    """Return the limit of the best linear head on frozen features as weight decay goes to zero.

    For ``1/(2N) ||W_D ... W_1 Z - Y||^2 + l/2 sum ||W_l||^2`` over the layers, as ``l`` goes to 0, with
    ``B = Y Z^+`` the least-squares solution of least norm::

        W_D ... W_1 = B
        every layer has the singular values  s_j(B)^(1/D)  and the condition number  kappa(B)^(1/D)
        W_{l+1}^T W_{l+1} = W_l W_l^T

    so ``log kappa`` of a layer is proportional to ``1/D``. With two layers or more, the input of the last one,
    ``W_{D-1} ... W_1 Z``, collapses to ``W_D^+ Y`` if B interpolates; with one layer it is Z itself. Each singular
    value of B is the least among all solutions, so that B has the least penalty at any depth.

    At a weight decay ``l`` above zero the deviation from the limit is of order ``l``. The balance of the last line
    holds exactly at every stationary point.

    Assumes layers as wide as the rank of B, which is not zero, and that the optimisation finds the best minimum.

    Parameters
    ----------
    features, targets : ndarray
        ``Z`` and ``Y``, shapes ``(N, d)`` and ``(N, K)``.
    depth : int
        D.

    Raises
    ------
    OutOfRange
        If a parameter is outside the theorem.

    References
    ----------
    Jacot et al. 2024, Wide neural networks trained with weight decay provably exhibit neural collapse.

    Examples
    --------
    >>> head = linear_head(np.diag([1.0, 2.0]), np.diag([16.0, 2.0]), depth=2)
    >>> head.singular_values, head.condition_number
    (array([4., 1.]), 4.0)
    """
    theorem = "the limit of a linear head (Jacot 2024)"
    require(depth >= 1, theorem, f"at least one layer, not {depth}")
    require(len(features) == len(targets), theorem, f"a target for each of {len(features)} samples, not {len(targets)}")
    product = np.linalg.lstsq(features, targets, rcond=None)[0].T
    values = np.linalg.svd(product, compute_uv=False)
    values = values[values > values.max(initial=0.0) * max(product.shape) * np.finfo(np.float64).eps]
    require(len(values) > 0, theorem, "targets that the features know something of")
    layer = values ** (1 / depth)
    return LinearHead(product, layer, float(layer[0] / layer[-1]), depth / 2 * float((layer**2).sum()))


@checked()
def whitened_head(strengths: np.ndarray, weight_decay: float, depth: int) -> np.ndarray:
    """Return the singular values ``(r,)`` of the best linear head on whitened features, at any weight decay.

    If ``Z^T Z = N I``, each singular value s of ``Y^T Z / N`` determines one of the product ``W_D ... W_1``: the
    largest root of ``p - s + l p^(2/D - 1) = 0`` if its loss is below that of zero::

        D = 1   p = s/(1 + l)
        D = 2   p = max(0, s - l)
        D > 2   the root if s > q + l q^(2/D - 1) with q = ((D - 2) l)^(D/(2D - 2)), else 0

    with ``p^(1/D)`` in every layer. As ``l`` goes to 0 it becomes the limit of `linear_head`.

    Assumes ``l > 0`` and layers as wide as there are strengths.

    Parameters
    ----------
    strengths : ndarray
        Singular values of ``Y^T Z / N``, shape ``(r,)``.
    weight_decay : float
        ``l``.
    depth : int
        D.

    Raises
    ------
    OutOfRange
        If a parameter is outside the theorem.

    Examples
    --------
    >>> whitened_head(np.array([2.0, 0.25]), weight_decay=0.5, depth=2)
    array([1.5, 0. ])
    """
    theorem = "the best linear head on whitened features"
    require(depth >= 1, theorem, f"at least one layer, not {depth}")
    positive(theorem, weight_decay=weight_decay)
    given = np.asarray(strengths, dtype=np.float64)
    require(bool((given >= 0).all()), theorem, "singular values, which are not negative")
    if depth == 1:
        return given / (1 + weight_decay)
    if depth == 2:
        return (given - weight_decay).clip(min=0)
    least = ((depth - 2) * weight_decay) ** (depth / (2 * depth - 2))

    def root(strength: float) -> float:
        def excess(product: float) -> float:
            return float(product - strength + weight_decay * product ** (2 / depth - 1))

        # At the smallest product that is worth its penalty, the excess is negative if the direction survives.
        return float(brentq(excess, least, strength, xtol=1e-15)) if strength > least and excess(least) < 0 else 0.0

    return np.array([root(float(strength)) for strength in given])
