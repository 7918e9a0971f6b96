"""Cosines and distances of all pairs of class means, block by block: those of 50,000 classes do not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

__all__ = ["BLOCK", "pair_cosines", "pair_distances", "unit_rows"]

#: Two arrays of classes and the values of their pairs, in shapes that broadcast.
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]

#: Pairs in a block.
BLOCK = 1 << 21
# Up to so many classes distances come from differences, beyond from inner products.
_FEW = 2048
# Squared distances below this share of the squared norms have lost half of their digits to cancellation.
_NEAR = 1e-7


def unit_rows(means: np.ndarray) -> np.ndarray:
    """Scale the rows of ``(k, d)`` to norm one."""
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))


def pair_cosines(means: np.ndarray) -> Iterator[Pairs]:
    """Yield the cosines between all pairs of rows ``(k, d)``, each pair once, block by block."""
    unit = unit_rows(means)
    for start, stop in _blocks(len(unit)):
        yield from _each_once(unit[start:stop] @ unit[start:].T, start, stop)


def pair_distances(points: np.ndarray) -> Iterator[Pairs]:
    """Yield the squared distances between all pairs of rows ``(k, d)``, each pair once, block by block."""
    norms = np.einsum("kd,kd->k", points, points)
    for start, stop in _blocks(len(points)):
        if len(points) <= _FEW:
            squares = cdist(points[start:stop], points[start:], "sqeuclidean")
        else:
            norm_sums = norms[start:stop, None] + norms[None, start:]
            squares = norm_sums - 2 * points[start:stop] @ points[start:].T
            near = squares <= _NEAR * norm_sums
            # A class is always near itself, which is no pair.
            near[np.arange(stop - start), np.arange(stop - start)] = False
            for row in np.flatnonzero(near.any(1)):
                squares[row] = cdist(points[None, start + row], points[start:], "sqeuclidean")[0]
        yield from _each_once(squares, start, stop)


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    step = max(BLOCK // max(count, 1), 1)
    for start in range(0, count, step):
        yield start, min(start + step, count)


def _each_once(values: np.ndarray, start: int, stop: int) -> Iterator[Pairs]:
    """Yield each pair of different rows once, from the values of rows ``start .. stop`` and columns from `start` on."""
    size = stop - start
    first, second = np.triu_indices(size, 1)
    if len(first):
        yield start + first, start + second, values[first, second]
    if values.shape[1] > size:
        yield np.arange(start, stop)[:, None], np.arange(stop, start + values.shape[1])[None], values[:, size:]
