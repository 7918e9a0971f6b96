"""How alike layers are to one another: linear HSIC of all pairs, unbiased, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

__all__ = ["PairwiseHSIC", "gram"]


def gram(features: Tensor) -> Tensor:
    """Inner products of a batch's samples about their mean, zero on the diagonal: ``(n, d)`` to ``(n, n)``, float64."""
    apart = features.double()
    # A shift of all samples changes no HSIC, and would cost digits.
    apart = apart - apart.mean(0)
    products = apart @ apart.T
    return products.fill_diagonal_(0.0)


class PairwiseHSIC:
    """Accumulates the Hilbert-Schmidt independence criterion of all pairs of ``r`` rows and ``c`` columns.

    Of every batch the unbiased estimate (Song et al. 2012), so that sums over batches estimate that of the whole data
    and nothing grows with it (Nguyen, Raghu & Kornblith 2021).

    Parameters
    ----------
    rows, columns : int
        Layers of the one network and of the other.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("batches", "skipped", "cross", "own_rows", "own_columns")

    def __init__(self, rows: int, columns: int) -> None:
        self.batches = 0
        self.skipped = 0
        self.cross = torch.zeros(rows, columns, dtype=torch.float64)
        self.own_rows = torch.zeros(rows, dtype=torch.float64)
        self.own_columns = torch.zeros(columns, dtype=torch.float64)

    def update(self, rows: Sequence[Tensor], columns: Sequence[Tensor]) -> None:
        """Take in the Gram matrices of a batch (`gram`); a batch of fewer than four samples is counted and skipped."""
        if len(rows[0]) < 4:
            self.skipped += len(rows[0])
            return
        first = torch.stack([matrix.cpu() for matrix in rows])
        second = first if columns is rows else torch.stack([matrix.cpu() for matrix in columns])
        self.batches += 1
        self.cross += _hsic(first, second)
        self.own_rows += _own(first)
        self.own_columns += _own(second)

    def merge(self, other: PairwiseHSIC) -> None:
        """Take in what another worker accumulated over other batches."""
        for name in self.accumulated:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def finish(self) -> np.ndarray:
        """Centred kernel alignment of all pairs, shape ``(r, c)``; NaN where a layer does not vary."""
        scale = self.own_rows[:, None] * self.own_columns[None]
        return torch.where(scale > 0, self.cross / scale.clamp_min(0).sqrt(), torch.nan).numpy()


def _hsic(first: Tensor, second: Tensor) -> Tensor:
    """The estimate of all pairs of ``(r, n, n)`` and ``(c, n, n)``, zero on the diagonals: shape ``(r, c)``."""
    count = first.shape[1]
    traces = first.flatten(1) @ second.flatten(1).T
    one, two = first.sum(2), second.sum(2)
    totals = one.sum(1)[:, None] * two.sum(1)[None] / ((count - 1) * (count - 2))
    return (traces + totals - 2 * (one @ two.T) / (count - 2)) / (count * (count - 3))


def _own(matrices: Tensor) -> Tensor:
    return torch.stack([_hsic(matrix[None], matrix[None])[0, 0] for matrix in matrices])
