"""Stratified draws with a fixed seed: subsets that keep every class, and every class's share.

Samples with regression targets are drawn as if they were of one class.
"""

from __future__ import annotations

import numpy as np

from layerwise.data.source import Rows
from layerwise.errors import InvalidData

__all__ = ["hold_out", "limit", "stratified_order"]


def stratified_order(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return an order of the samples in which every prefix has the classes in proportion.

    One sample of every class comes first; the others are sorted by ``(k + 1/2) / n_c``, for the `k`-th of the `n_c`
    samples of a class. The order within a class is drawn from `seed`.

    Parameters
    ----------
    labels : ndarray
        Class of every sample, shape ``(n,)``.
    seed : int
        Seed of the draw.

    Returns
    -------
    ndarray
        A permutation of ``0..n-1``.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(starts, sizes)
    place = np.where(rank == 0, 0.0, (rank + 0.5) / np.repeat(sizes, sizes))
    return by_class[np.argsort(place, kind="stable")]


def limit(rows: Rows, most: int, seed: int = 0) -> Rows:
    """Return at most `most` samples, with every class among them, in the order of the file.

    Raises
    ------
    InvalidData
        If there are more classes than `most`.
    """
    if len(rows) <= most:
        return rows
    classes = len(np.unique(_strata(rows)))
    if most < classes:
        raise InvalidData(f"limit={most} is too few for {classes} classes")
    return rows.take(np.sort(stratified_order(_strata(rows), seed)[:most]))


def hold_out(rows: Rows, share: float, seed: int = 0) -> tuple[Rows, Rows]:
    """Return the remaining and the held-out samples, each in the order of the file; a class of one sample remains.

    Raises
    ------
    InvalidData
        If the share is less than one sample, or leaves a class without samples.
    """
    count = round(share * len(rows))
    classes = len(np.unique(_strata(rows)))
    if not 0 < count <= len(rows) - classes:
        raise InvalidData(
            f"test={share} holds out {count} of {len(rows)} samples of {classes} classes; "
            "at least one must be held out, and one of every class remain"
        )
    order = stratified_order(_strata(rows), seed)
    return rows.take(np.sort(order[:-count])), rows.take(np.sort(order[-count:]))


def _strata(rows: Rows) -> np.ndarray:
    return np.zeros(len(rows), dtype=np.int64) if rows.is_regression else rows.labels
