"""What a theorem says of a minimiser, up to the rotations that leave the loss as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Minimiser"]


@dataclass(frozen=True, eq=False)
class Minimiser:
    """A predicted global minimiser, in which every sample sits on the mean of its class.

    Attributes
    ----------
    loss : float
        The least loss.
    logits : ndarray
        Shape ``(K, K)``: row k is what the network puts out on samples of class k, without the bias.
    weight_gram : ndarray
        Shape ``(K, K)``: inner products of the classifier's rows, ``W W^T``.
    mean_gram : ndarray
        Shape ``(K, K)``: inner products of the class means, not centred.
    bias : ndarray
        Shape ``(K,)``; zero where there is none.
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
