"""Frames that class means and classifiers collapse to: vectors, Gram matrices, and distances from a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerwise.arguments import checked
from layerwise.errors import InvalidData, UnknownName
from layerwise.theory.ranges import require

__all__ = [
    "Frame",
    "as_frame",
    "frame_distance",
    "gram_distance",
    "gram_vectors",
    "orthogonal_frame",
    "orthogonal_frame_gram",
    "random_frame",
    "simplex_etf",
    "simplex_etf_gram",
]


@checked()
def simplex_etf_gram(classes: int, norm: float = 1.0) -> np.ndarray:
    """Return the Gram matrix of a simplex equiangular tight frame, ``norm^2 K/(K-1) (I - 11^T/K)``, shape ``(K, K)``.

    All vectors have length `norm` and all pairs the cosine ``-1/(K-1)``, the smallest common cosine of K directions
    (Papyan, Han & Donoho 2020).

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
    """Return the Gram matrix of a general orthogonal frame, ``diag(norms^2)``, shape ``(K, K)``.

    A class of norm zero does not survive. With equal norms, the frame is orthogonal (Dang et al. 2023).
    """
    return np.diag(np.asarray(norms, dtype=np.float64) ** 2)


def gram_vectors(gram: np.ndarray, dimension: int) -> np.ndarray:
    """Return vectors ``(K, d)`` with the given Gram matrix ``(K, K)``; they are unique up to a rotation.

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
    """Return the vectors ``(K, d)`` of a simplex equiangular tight frame, for ``d >= K - 1``."""
    return gram_vectors(simplex_etf_gram(classes, norm), dimension)


def orthogonal_frame(norms: Sequence[float] | np.ndarray, dimension: int) -> np.ndarray:
    """Return the vectors ``(K, d)`` of a general orthogonal frame with the given norms, for ``d >= K``."""
    lengths = np.asarray(norms, dtype=np.float64)
    require(len(lengths) <= dimension, "an orthogonal frame", f"at least {len(lengths)} dimensions, not {dimension}")
    return np.eye(len(lengths), dimension) * lengths[:, None]


def random_frame(gram: np.ndarray, dimension: int, generator: np.random.Generator) -> np.ndarray:
    """Return vectors ``(K, d)`` with the given Gram matrix, in a random rotation."""
    width = min(len(gram), dimension)
    # Only the directions of the frame are drawn, since the dimension may be large.
    rotation, triangle = np.linalg.qr(generator.standard_normal((dimension, width)))
    return np.asarray(gram_vectors(gram, width) @ (rotation * np.sign(np.diag(triangle))).T)


def gram_distance(gram: np.ndarray, ideal: np.ndarray) -> float:
    """Return the Frobenius distance of two Gram matrices ``(K, K)``, each scaled to norm one; in ``[0, sqrt(2)]``."""
    return float(np.linalg.norm(gram / np.linalg.norm(gram) - ideal / np.linalg.norm(ideal)))


def frame_distance(vectors: np.ndarray, ideal: np.ndarray) -> float:
    """Return the distance of the Gram matrix of vectors ``(K, d)`` from a frame's, ``|| G/||G||_F - I/||I||_F ||_F``.

    It is in ``[0, sqrt(2)]``, and 0 if the vectors are the frame up to rotation and scale. For centred class means and
    `simplex_etf_gram` it is the metric `etf_error`; for uncentred ones and an orthogonal frame, `orthogonality_error`.

    Examples
    --------
    >>> round(frame_distance(simplex_etf(4, 7), simplex_etf_gram(4, norm=3)), 12)
    0.0
    """
    return gram_distance(vectors @ vectors.T, ideal)


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame that class means should reach, up to rotation and scale.

    Attributes
    ----------
    gram : ndarray
        Shape ``(K, K)``: inner products of its vectors.

    Raises
    ------
    InvalidData
        If the matrix is not the Gram matrix of any vectors.

    Examples
    --------
    >>> Frame(simplex_etf_gram(4)).name, Frame(orthogonal_frame_gram([2, 1, 0])).name
    ('simplex ETF', 'general orthogonal frame')
    """

    gram: np.ndarray

    def __post_init__(self) -> None:
        gram = np.asarray(self.gram, dtype=np.float64)
        object.__setattr__(self, "gram", gram)
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not np.isfinite(gram).all():
            raise InvalidData(f"a frame is a Gram matrix of finite numbers (K, K), not of shape {gram.shape}")
        slack = 1e-6 * np.abs(gram).max(initial=0.0)
        if np.abs(gram - gram.T).max(initial=0.0) > slack or np.linalg.eigvalsh(gram).min(initial=0.0) < -slack:
            raise InvalidData("a frame is a Gram matrix, and this one is not symmetric with eigenvalues of 0 or more")

    @property
    def norms(self) -> np.ndarray:
        """Norms of the vectors, shape ``(K,)``; 0 for a class that does not survive."""
        return np.asarray(np.sqrt(np.diag(self.gram).clip(min=0)))

    @property
    def zero(self) -> bool:
        """Whether all of its vectors are zero."""
        return not self.norms.any()

    @property
    def centred(self) -> bool:
        """Whether its vectors sum to zero, as those of a simplex ETF do."""
        return float(self.gram.sum()) <= 1e-9 * len(self.gram) * float(np.trace(self.gram))

    @property
    def name(self) -> str:
        """The usual name of the frame; ``frame`` if it has none."""
        if self.zero:
            return "zero"
        if np.allclose(self.gram, np.diag(self.norms**2), rtol=0, atol=1e-6 * self.norms.max() ** 2):
            return "orthogonal frame" if np.ptp(self.norms) <= 1e-6 * self.norms.max() else "general orthogonal frame"
        return "simplex ETF" if gram_distance(self.gram, simplex_etf_gram(len(self.gram))) <= 1e-6 else "frame"

    def distance(self, means: np.ndarray, classes: np.ndarray | None = None) -> float:
        """Return the distance of class means ``(k, d)`` from the frame, ``|| G/||G||_F - I/||I||_F ||_F``.

        `classes` are the indices of the classes of the means, by default all. If the frame is centred, both Gram
        matrices are of centred vectors, because the theory does not determine the offset of the features.
        """
        ideal = self.gram if classes is None else self.gram[np.ix_(classes, classes)]
        if self.centred:
            centring = np.eye(len(ideal)) - 1 / len(ideal)
            means, ideal = means - means.mean(0), centring @ ideal @ centring
        return frame_distance(means, ideal)


def as_frame(asked: str | Frame | np.ndarray, classes: int) -> Frame:
    """Return the frame of ``"etf"``, ``"orthogonal"``, a `Frame` or a Gram matrix, for a number of classes.

    Raises
    ------
    UnknownName
        If no frame has that name.
    InvalidData
        If the frame has fewer vectors than there are classes, or all vectors are zero.
    """
    if isinstance(asked, str):
        if asked not in _NAMED:
            raise UnknownName("frame", asked, _NAMED, hint="or give its Gram matrix, or a layerwise.theory.Frame")
        return Frame(_NAMED[asked](max(classes, 2)))
    frame = asked if isinstance(asked, Frame) else Frame(asked)
    if len(frame.gram) < classes:
        raise InvalidData(f"the frame has {len(frame.gram)} vectors, and there are {classes} classes")
    if frame.zero:
        raise InvalidData("all vectors of the frame are zero: nothing has a distance from its directions")
    return frame


_NAMED = {"etf": simplex_etf_gram, "orthogonal": lambda classes: orthogonal_frame_gram(np.ones(classes))}
