"""Draws a limited number of samples of each class by a seed, the same ones in any batches."""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from torch import Tensor

from layerwise.errors import NotRepeatable
from layerwise.passes.jackknife_groups import numbered

__all__ = ["Draw"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Draw:
    """Draws `limit` samples of every class that has more, each with the same probability, without replacement.

    Every sample has a number within its class, and a hash of seed, class and number: those with the lowest hashes are
    drawn. The samples of each class have to be counted before.

    Parameters
    ----------
    limit : int
    seed : int
    counts : Tensor of int
        Samples of each class in the whole data, shape ``(C,)``.
    before : Tensor of int
        Samples of each class that come before, in other processes, shape ``(C,)``.
    ids : Tensor of int, optional
        The labels of the classes, ascending, shape ``(C,)``; ``0 .. C - 1`` by default.

    Attributes
    ----------
    before : Tensor of int
        Samples of each class that were seen so far.
    """

    def __init__(self, limit: int, seed: int, counts: Tensor, before: Tensor, ids: Tensor | None = None) -> None:
        self.seed = seed
        self.before = before
        self._start = before
        self.counts = counts
        self.ids = torch.arange(len(counts)) if ids is None else ids
        self.highest = np.full(len(counts), np.iinfo(np.uint64).max, dtype=np.uint64)
        for row in (counts > limit).nonzero()[:, 0].tolist():
            numbers = np.arange(int(counts[row]))
            hashes = _hashes(seed, np.full_like(numbers, int(self.ids[row])), numbers)
            self.highest[row] = np.partition(hashes, limit - 1)[limit - 1]

    def again(self) -> Draw:
        """Return the same draw from the start."""
        fresh = copy(self)
        fresh.before = self._start
        return fresh

    def take(self, labels: Tensor) -> Tensor:
        """Return which of the next samples are drawn, given their labels, both of shape ``(n,)``.

        Raises
        ------
        NotRepeatable
            If a class has more samples than were counted.
        """
        if not len(labels):
            return torch.zeros(0, dtype=torch.bool, device=labels.device)
        labels_here = labels.cpu()
        rows = torch.searchsorted(self.ids, labels_here).clamp_max(len(self.ids) - 1)
        numbers, self.before = numbered(rows, self.before)
        if bool((self.ids[rows] != labels_here).any()) or bool((self.before > self.counts).any()):
            raise NotRepeatable(
                "a class has more samples in this run of the data than when they were counted; "
                "samples_per_class needs a loader that repeats itself"
            )
        drawn = _hashes(self.seed, labels_here.numpy(), numbers.numpy()) <= self.highest[rows.numpy()]
        return torch.from_numpy(drawn).to(labels.device)


def _hashes(seed: int, labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Evenly spread numbers of 64 bits, one for each seed, class and number within it (SplitMix, Steele 2014)."""
    with np.errstate(over="ignore"):
        start = _mixed(labels.astype(np.uint64) * _GOLDEN + np.uint64(seed % 2**64))
        return _mixed(start + (numbers.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def _mixed(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
