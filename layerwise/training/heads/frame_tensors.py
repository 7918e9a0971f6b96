"""The frames of `layerwise.theory.frames` as tensors, with a random rotation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from layerwise.theory import frames

__all__ = ["orthogonal_frame", "simplex_etf"]


def simplex_etf(classes: int, features: int, *, norm: float = 1.0, seed: int = 0) -> Tensor:
    """Return the rows of a simplex equiangular tight frame, shape ``(K, d)``, with a random rotation.

    All rows have the length `norm`, and all pairs the cosine ``-1/(K-1)``.

    Parameters
    ----------
    classes, features : int
        ``K`` and ``d``, ``K <= d + 1``.
    norm : float
    seed : int
        Seed of the rotation.

    Raises
    ------
    OutOfRange
        If there are fewer than two classes, or more than ``d + 1``.

    References
    ----------
    Papyan, Han & Donoho 2020, Prevalence of neural collapse, doi:10.1073/pnas.2015509117.

    Examples
    --------
    >>> frame = simplex_etf(3, 8)
    >>> (frame @ frame.T).round(decimals=4)
    tensor([[ 1.0000, -0.5000, -0.5000],
            [-0.5000,  1.0000, -0.5000],
            [-0.5000, -0.5000,  1.0000]])
    """
    return _rotated(frames.simplex_etf_gram(classes, norm), features, seed)


def orthogonal_frame(norms: Sequence[float], features: int, *, seed: int = 0) -> Tensor:
    """Return orthogonal rows of given norms, shape ``(K, d)``, with a random rotation.

    Equal norms make an orthogonal frame, others a general orthogonal frame (Dang et al. 2023).

    Parameters
    ----------
    norms : sequence of float
    features : int
        ``d``.
    seed : int
        Seed of the rotation.

    Raises
    ------
    OutOfRange
        If there are more norms than features.
    """
    return _rotated(frames.orthogonal_frame_gram(norms), features, seed)


def _rotated(gram: np.ndarray, features: int, seed: int) -> Tensor:
    rows = frames.random_frame(gram, features, np.random.default_rng(seed))
    return torch.from_numpy(rows).to(torch.get_default_dtype())
