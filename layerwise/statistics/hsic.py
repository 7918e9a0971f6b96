"""Similarity of layers: unbiased linear HSIC of all pairs, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

__all__ = ["PairwiseHSIC", "gram"]


def gram(features: Tensor) -> Tensor:
    """Return the inner products of centred samples, zero on the diagonal: ``(n, d)`` to ``(n, n)``, float64."""
    # A shift of all samples does not change HSIC, but would cost digits.
    centered = features.double()
    centered = centered - centered.mean(0)
    products = centered @ centered.T
    return products.fill_diagonal_(0.0)


class PairwiseHSIC:
    """Accumulates the Hilbert-Schmidt independence criterion of all pairs of ``r`` rows and ``c`` columns.

    The estimate of every batch is unbiased (Song et al. 2012), so that the sum over batches estimates the criterion of
    the whole data in constant memory (Nguyen, Raghu & Kornblith 2021).

    Parameters
    ----------
    rows, columns : int
        Number of layers of the first and the second network.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("batches", "skipped", "cross", "row_self", "column_self")

    def __init__(self, rows: int, columns: int) -> None:
        self.batches = 0
        self.skipped = 0
        self.cross = torch.zeros(rows, columns, dtype=torch.float64)
        self.row_self = torch.zeros(rows, dtype=torch.float64)
        self.column_self = torch.zeros(columns, dtype=torch.float64)

    def update(self, rows: Sequence[Tensor], columns: Sequence[Tensor]) -> None:
        """Add the Gram matrices of a batch (`gram`); skip and count a batch of fewer than four samples."""
        if len(rows[0]) < 4:
            self.skipped += len(rows[0])
            return
        first = torch.stack([matrix.cpu() for matrix in rows])
        second = first if columns is rows else torch.stack([matrix.cpu() for matrix in columns])
        self.batches += 1
        self.cross += _hsic(first, second)
        self.row_self += _with_itself(first)
        self.column_self += _with_itself(second)

    def merge(self, other: PairwiseHSIC) -> None:
        """Add the sums of another worker over other batches."""
        for name in self.accumulated:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def finish(self) -> np.ndarray:
        """Return the centred kernel alignment of all pairs, shape ``(r, c)``; NaN where a layer does not vary."""
        scale = self.row_self[:, None] * self.column_self[None]
        return torch.where(scale > 0, self.cross / scale.clamp_min(0).sqrt(), torch.nan).numpy()


def _hsic(first: Tensor, second: Tensor) -> Tensor:
    """Return the estimate of all pairs of ``(r, n, n)`` and ``(c, n, n)``, zero on the diagonals: shape ``(r, c)``."""
    count = first.shape[1]
    traces = first.flatten(1) @ second.flatten(1).T
    first_sums, second_sums = first.sum(2), second.sum(2)
    totals = first_sums.sum(1)[:, None] * second_sums.sum(1)[None] / ((count - 1) * (count - 2))
    return (traces + totals - 2 * (first_sums @ second_sums.T) / (count - 2)) / (count * (count - 3))


def _with_itself(matrices: Tensor) -> Tensor:
    """Return the estimate of every layer with itself, shape ``(r,)``."""
    return torch.stack([_hsic(matrix[None], matrix[None])[0, 0] for matrix in matrices])
