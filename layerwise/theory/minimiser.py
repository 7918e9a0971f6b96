"""The result of a theorem on a minimiser, up to rotations, which do not change the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Minimiser"]


@dataclass(frozen=True, eq=False)
class Minimiser:
    """A predicted global minimiser, in which the features of every sample equal its class mean.

    Attributes
    ----------
    loss : float
        The least loss.
    logits : ndarray
        Shape ``(K, K)``: row k is the output of the network on samples of class k, without the bias.
    weight_gram : ndarray
        Shape ``(K, K)``: inner products of the classifier's rows, ``W W^T``.
    mean_gram : ndarray
        Shape ``(K, K)``: inner products of the class means, not centred.
    bias : ndarray
        Shape ``(K,)``; zero in a model without a bias.
    """

    loss: float
    logits: np.ndarray
    weight_gram: np.ndarray
    mean_gram: np.ndarray
    bias: np.ndarray

    @property
    def weight_norms(self) -> np.ndarray:
        """Norms of the classifier's rows, shape ``(K,)``."""
        return np.asarray(np.sqrt(np.diag(self.weight_gram)))

    @property
    def mean_norms(self) -> np.ndarray:
        """Norms of the class means, shape ``(K,)``."""
        return np.asarray(np.sqrt(np.diag(self.mean_gram)))
