"""Pivots of classes: points near the class means, from which sums of residuals lose no digits."""

from __future__ import annotations

import torch
from torch import Tensor

from layerwise.statistics.residuals import columns, residuals

__all__ = ["due_classes", "first_pivots", "move_to_means"]

# A pivot moves whenever its class has grown by this factor, until it was the mean of this many samples.
_GROWTH = 4
_SETTLED = 64


def first_pivots(features: Tensor, rows: Tensor, fresh: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the means over a batch of the classes that appear for the first time.

    Parameters
    ----------
    features : Tensor
        Shape ``(n, d)``.
    rows : Tensor of int
        Class of every sample, as a position in `fresh`, shape ``(n,)``.
    fresh : Tensor of bool
        Classes of the batch that appear for the first time, shape ``(k,)``.
    dtype : dtype
        Type of the pivots: they need only be near the means, so that single precision suffices.

    Returns
    -------
    Tensor
        One row for each class that is fresh.
    """
    # Residuals are taken from the first sample, so that equal samples have their own value as pivot.
    members = rows[None] == fresh.nonzero()
    pivots = features[members.int().argmax(1)].to(dtype)
    counted = fresh[rows]
    share = members[:, counted].double() / members.sum(1, keepdim=True)
    for block, _, residual in residuals(features[counted], pivots, (fresh.cumsum(0) - 1)[rows[counted]]):
        pivots[:, block] += (share @ residual).to(pivots.dtype)
    return pivots


def due_classes(present: Tensor, counts: Tensor, settled: Tensor) -> Tensor:
    """Return the present classes that have grown enough since the last move of their pivots.

    Parameters
    ----------
    present : Tensor of int
        Classes of a batch.
    counts, settled : Tensor of int
        Samples of every class, now and when its pivot last moved, shape ``(C,)``.
    """
    due = present[counts[present] >= _GROWTH * settled[present]]
    return due[settled[due] < _SETTLED]


def move_to_means(
    due: Tensor, count: Tensor, pivot: Tensor, total: Tensor, square: Tensor, spread: Tensor, keep: bool
) -> Tensor | None:
    """Move the pivots of some classes to the class means, and the sums of residuals with them, in place.

    Parameters
    ----------
    due : Tensor of int
        Classes whose pivots move, shape ``(k,)``.
    count : Tensor
        Samples of these classes, shape ``(k, 1)``.
    pivot, total : Tensor
        Pivots and sums of residuals of all classes, shape ``(C, d)``.
    square, spread : Tensor
        Sums of squared residuals by class, shape ``(C,)``, and by feature, shape ``(d,)``.
    keep : bool
        Whether to return the shifts, which take as much memory as `total` for these classes.

    Returns
    -------
    Tensor or None
        By how much each pivot moved, shape ``(k, d)``.
    """
    shifts: list[Tensor] = []
    for block in columns(total):
        sums, old = total[due, block], pivot[due, block]
        new = (old + sums / count).to(old.dtype)
        shift = new.double() - old.double()
        pivot[due, block] = new
        moved = shift * (count * shift - 2 * sums)
        square[due] += moved.sum(1)
        spread[block] += moved.sum(0)
        total[due, block] = sums - count * shift
        if keep:
            shifts.append(shift)
    return torch.cat(shifts, dim=1) if keep else None
