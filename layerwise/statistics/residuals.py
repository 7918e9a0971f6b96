"""Residuals of features from a reference point per sample, a few columns at a time, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["block_width", "columns", "residuals", "seen_from"]

# Elements of one block: on a CPU, a float64 block fits into the cache of a core; on an accelerator, it fills the
# device.
_BLOCK = {"cpu": 1 << 17, "cuda": 1 << 25}


def block_width(count: int, device: str = "cpu") -> int:
    """Return the number of columns of a block of `count` rows."""
    return max(256, _BLOCK.get(device, 1 << 20) // max(count, 1))


def columns(features: Tensor) -> Iterator[slice]:
    """Yield slices that cut `features`, shape ``(n, d)``, into blocks of columns."""
    count, width = features.shape
    step = block_width(count, features.device.type)
    for start in range(0, width, step):
        yield slice(start, min(start + step, width))


def seen_from(features: Tensor, point: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield differences ``features[i] - point`` from one point ``(d,)``, block by block, in float64 as `residuals`."""
    for block in columns(features):
        yield block, features[:, block].to(torch.float64, copy=True).sub_(point[block])


def residuals(features: Tensor, reference: Tensor, rows: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield differences ``features[i] - reference[rows[i]]``, block by block.

    The differences are in float64, in which numbers of half or single precision subtract without error, so that a
    common offset of the features costs no digits.

    Parameters
    ----------
    features : Tensor
        Shape ``(n, d)``, of any floating type.
    reference : Tensor
        Shape ``(k, d)``.
    rows : Tensor
        The row of `reference` for every sample, shape ``(n,)``.

    Yields
    ------
    block : slice
        The columns.
    values, residual : Tensor
        The features and their differences, shape ``(n, len(block))``, float64; the next block overwrites them.
    """
    buffers: list[Tensor] = []
    for block in columns(features):
        shape = (len(features), block.stop - block.start)
        if not buffers or buffers[0].shape != shape:
            buffers = [features.new_empty(shape, dtype=torch.float64) for _ in range(2)]
        values, points = buffers
        values.copy_(features[:, block])
        torch.index_select(reference[:, block].double(), 0, rows, out=points)
        yield block, values, torch.sub(values, points, out=points)
