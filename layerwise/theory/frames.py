"""Frames that class means and classifiers collapse to: their vectors, Gram matrices, and the distance from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerwise.theory.ranges import require

__all__ = [
    "frame_distance",
    "gram_distance",
    "gram_vectors",
    "orthogonal_frame",
    "orthogonal_frame_gram",
    "random_frame",
    "simplex_etf",
    "simplex_etf_gram",
]


def simplex_etf_gram(classes: int, norm: float = 1.0) -> np.ndarray:
    """Gram matrix of a simplex equiangular tight frame, ``norm^2 K/(K-1) (I - 11^T/K)``, shape ``(K, K)``.

    All vectors have length `norm` and all pairs the cosine ``-1/(K-1)``, the least that K directions can all have.
    Papyan, Han & Donoho 2020.

    Examples
    --------
    >>> simplex_etf_gram(3)
    array([[ 1. , -0.5, -0.5],
           [-0.5,  1. , -0.5],
           [-0.5, -0.5,  1. ]])
    """
    require(classes >= 2, "a simplex ETF", f"at least two classes, not {classes}")
    gram = np.full((classes, classes), -(norm**2) / (classes - 1))
    np.fill_diagonal(gram, norm**2)
    return gram


def orthogonal_frame_gram(norms: Sequence[float] | np.ndarray) -> np.ndarray:
    """Gram matrix of a general orthogonal frame with the given norms, ``diag(norms^2)``, shape ``(K, K)``.

    A norm of zero is a class that has died. With equal norms it is an orthogonal frame. Dang et al. 2023.
    """
    return np.diag(np.asarray(norms, dtype=np.float64) ** 2)


def gram_vectors(gram: np.ndarray, dimension: int) -> np.ndarray:
    """Vectors ``(K, d)`` with the given Gram matrix ``(K, K)``; they are unique up to a rotation.

    Raises
    ------
    OutOfRange
        If the rank of the Gram matrix is larger than the dimension.
    """
    values, directions = np.linalg.eigh(gram)
    rank = int((values > values[-1] * len(gram) * np.finfo(np.float64).eps).sum())
    require(rank <= dimension, "a frame", f"at least as many dimensions as its rank, {rank}, not {dimension}")
    vectors = np.zeros((len(gram), dimension))
    vectors[:, :rank] = (directions * np.sqrt(values.clip(min=0)))[:, ::-1][:, :rank]
    return vectors


def simplex_etf(classes: int, dimension: int, norm: float = 1.0) -> np.ndarray:
    """Vectors ``(K, d)`` of a simplex equiangular tight frame; it takes ``d >= K - 1``."""
    return gram_vectors(simplex_etf_gram(classes, norm), dimension)


def orthogonal_frame(norms: Sequence[float] | np.ndarray, dimension: int) -> np.ndarray:
    """Vectors ``(K, d)`` of a general orthogonal frame with the given norms; it takes as many dimensions as norms."""
    lengths = np.asarray(norms, dtype=np.float64)
    require(len(lengths) <= dimension, "an orthogonal frame", f"at least {len(lengths)} dimensions, not {dimension}")
    return np.eye(len(lengths), dimension) * lengths[:, None]


def random_frame(gram: np.ndarray, dimension: int, generator: np.random.Generator) -> np.ndarray:
    """Vectors ``(K, d)`` with the given Gram matrix, turned by a random rotation."""
    width = min(len(gram), dimension)
    # Of the rotation only the directions that the frame lies in are drawn: features may be many.
    rotation, triangle = np.linalg.qr(generator.standard_normal((dimension, width)))
    return np.asarray(gram_vectors(gram, width) @ (rotation * np.sign(np.diag(triangle))).T)


def gram_distance(gram: np.ndarray, ideal: np.ndarray) -> float:
    """Frobenius distance of two Gram matrices ``(K, K)``, both at norm one; in ``[0, sqrt(2)]``."""
    return float(np.linalg.norm(gram / np.linalg.norm(gram) - ideal / np.linalg.norm(ideal)))


def frame_distance(vectors: np.ndarray, ideal: np.ndarray) -> float:
    """Distance of the Gram matrix of vectors ``(K, d)`` from that of a frame, ``|| G/||G||_F - I/||I||_F ||_F``.

    In ``[0, sqrt(2)]``; 0 where the vectors are the frame up to rotation and scale. With `simplex_etf_gram` on centred
    class means it is the metric `etf_error`, with an orthogonal frame on uncentred ones `orthogonality_error`.

    Examples
    --------
    >>> round(frame_distance(simplex_etf(4, 7), simplex_etf_gram(4, norm=3)), 12)
    0.0
    """
    return gram_distance(vectors @ vectors.T, ideal)
