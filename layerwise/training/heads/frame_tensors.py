"""The frames of `layerwise.theory.frames` as tensors, turned by a rotation of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from layerwise.theory import frames

__all__ = ["orthogonal_frame", "simplex_etf"]


def simplex_etf(classes: int, features: int, *, norm: float = 1.0, seed: int = 0) -> Tensor:
    """Rows of a simplex equiangular tight frame, shape ``(K, d)``, turned by the random rotation of a seed.

    All of length `norm`, all pairs with the cosine ``-1/(K-1)``. Papyan, Han & Donoho 2020.

    Raises
    ------
    OutOfRange
        If there are fewer than two classes, or more than ``d + 1``.

    Examples
    --------
    >>> frame = simplex_etf(3, 8)
    >>> (frame @ frame.T).round(decimals=4)
    tensor([[ 1.0000, -0.5000, -0.5000],
            [-0.5000,  1.0000, -0.5000],
            [-0.5000, -0.5000,  1.0000]])
    """
    return _turned(frames.simplex_etf_gram(classes, norm), features, seed)


def orthogonal_frame(norms: Sequence[float], features: int, *, seed: int = 0) -> Tensor:
    """Orthogonal rows of given norms, shape ``(K, d)``, turned by the random rotation of a seed.

    With equal norms an orthogonal frame, a general orthogonal frame with others. Dang et al. 2023.

    Raises
    ------
    OutOfRange
        If there are more norms than features.
    """
    return _turned(frames.orthogonal_frame_gram(norms), features, seed)


def _turned(gram: np.ndarray, features: int, seed: int) -> Tensor:
    turned = frames.random_frame(gram, features, np.random.default_rng(seed))
    return torch.from_numpy(turned).to(torch.get_default_dtype())
