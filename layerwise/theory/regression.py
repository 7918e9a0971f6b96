"""Multivariate regression: the directions of the targets that the last layer keeps, and their strengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layerwise.arguments import checked
from layerwise.theory.ranges import positive, require

__all__ = ["RegressionMinimiser", "regression_minimiser"]


@dataclass(frozen=True, eq=False)
class RegressionMinimiser:
    """Global minimiser of the regression model, up to rotations of the features.

    Attributes
    ----------
    loss : float
        The least loss.
    outputs : ndarray
        Shape ``(N, q)``: the output of the network, with the bias.
    weight_gram : ndarray
        Shape ``(q, q)``: ``W W^T``.
    feature_gram : ndarray
        Shape ``(N, N)``: inner products of the features.
    bias : ndarray
        Shape ``(q,)``: the mean of the targets.
    eigenvalues : ndarray
        Shape ``(q,)``: eigenvalues of the targets' covariance, largest first.
    kept : int
        Number of their directions that the network learns; 0 if features and weights are zero.
    """

    loss: float
    outputs: np.ndarray
    weight_gram: np.ndarray
    feature_gram: np.ndarray
    bias: np.ndarray
    eigenvalues: np.ndarray
    kept: int


@checked()
def regression_minimiser(
    targets: np.ndarray, weight_decay: float, feature_decay: float, *, dimension: int | None = None
) -> RegressionMinimiser:
    """Global minimiser of the unconstrained features model for regression.

    For ``1/(2N) ||W H + b 1^T - Y||^2 + lH/(2N) ||H||^2 + lW/2 ||W||^2`` over W, H and b, with ``S`` the covariance
    of the targets (divided by N), its eigenvalues ``s_j``, ``c = lW lH`` and ``A = (S^(1/2) - sqrt(c) I)_+``::

        weights    W W^T = sqrt(lH/lW) A
        outputs    W H + b = ybar + A S^(-1/2) (Y - ybar),  b = ybar
        features   h_i . h_j = sqrt(lW/lH) (y_i - ybar)^T S^(-1/2) A S^(-1/2) (y_j - ybar)
        loss       sum over s_j > c of [sqrt(c s_j) - c/2]  +  sum over the others of s_j/2

    so the residual is ``-sqrt(c) S^(-1/2) (Y - ybar)`` while ``c`` is below all eigenvalues, and a direction is dropped
    when ``c`` passes its eigenvalue. Targets of lower rank are allowed: directions without variance are not learnt.

    Assumes ``lW, lH > 0`` (without weight decay every interpolation is a minimiser, collapsed or not) and d at least
    the number of eigenvalues above c. The bias has no penalty.

    Parameters
    ----------
    targets : ndarray
        ``Y``, shape ``(N, q)``.
    weight_decay, feature_decay : float
        ``lW`` and ``lH``; the latter is divided by N in the loss.
    dimension : int, optional
        Width d of the features, to be checked against the theorem.

    Raises
    ------
    OutOfRange
        If a parameter is outside the theorem.

    References
    ----------
    Andriopoulos et al. 2024, The prevalence of neural collapse in neural multivariate regression.

    Examples
    --------
    >>> minimiser = regression_minimiser(np.array([[2.0, 0.5], [-2.0, 0.5], [2.0, -0.5], [-2.0, -0.5]]), 0.5, 0.5)
    >>> minimiser.kept, minimiser.weight_gram.round(6) + 0.0
    (1, array([[1.5, 0. ],
           [0. , 0. ]]))
    """
    theorem = "the minimiser of the regression model (Andriopoulos 2024)"
    positive(theorem, weight_decay=weight_decay, feature_decay=feature_decay)
    require(targets.ndim == 2 and targets.size > 0, theorem, f"targets of shape (N, q), not {targets.shape}")
    require(bool(np.isfinite(targets).all()), theorem, "finite targets")
    samples = len(targets)
    bias = targets.mean(0)
    centred = targets - bias
    left, values, right = np.linalg.svd(centred / np.sqrt(samples), full_matrices=False)
    cost = float(np.sqrt(weight_decay * feature_decay))
    gains = (values - cost).clip(min=0)
    kept = int((gains > 0).sum())
    require(dimension is None or dimension >= kept, theorem, f"d >= {kept} here, not d = {dimension}")
    eigenvalues = np.zeros(targets.shape[1])
    eigenvalues[: len(values)] = values**2
    return RegressionMinimiser(
        loss=float(np.where(gains > 0, cost * values - cost**2 / 2, values**2 / 2).sum()),
        outputs=bias + np.sqrt(samples) * (left * gains) @ right,
        weight_gram=np.sqrt(feature_decay / weight_decay) * (right.T * gains) @ right,
        feature_gram=np.sqrt(weight_decay / feature_decay) * samples * (left * gains) @ left.T,
        bias=bias,
        eigenvalues=eigenvalues,
        kept=kept,
    )
