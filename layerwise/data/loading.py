"""Loaders of data that was read by name: batches of prepared inputs and labels, in the order of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from layerwise.data.source import Source
from layerwise.errors import InvalidData

__all__ = ["Collate", "loaders", "stack_arrays"]


def stack_arrays(raw: Sequence[Any]) -> Tensor:
    """Stack arrays in the form that a plain network takes.

    Parameters
    ----------
    raw : sequence of array_like
        Arrays of one shape. Images of bytes or of 16 bits are ``(h, w)``, ``(h, w, c)`` or ``(c, h, w)`` with ``c`` of
        1, 3 or 4.

    Returns
    -------
    Tensor
        Such images as float32 in [0, 1], shape ``(n, c, h, w)``; other integers as int64; complex numbers as
        complex64; other arrays as float32.

    Raises
    ------
    InvalidData
        If the shapes differ.

    Examples
    --------
    >>> stack_arrays([np.full((8, 8, 3), 255, np.uint8)]).shape
    torch.Size([1, 3, 8, 8])
    """
    arrays = [np.asarray(value) for value in raw]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise InvalidData(f"the arrays of a batch differ in shape: {', '.join(map(str, sorted(shapes)))}")
    batch = np.stack(arrays)
    if batch.dtype in (np.uint8, np.uint16) and batch.ndim in (3, 4):
        white = np.float32(np.iinfo(batch.dtype).max)
        if batch.ndim == 3:
            batch = batch[:, None]
        elif batch.shape[3] in (1, 3, 4):
            batch = np.moveaxis(batch, 3, 1)
        return torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float32) / white)
    if batch.dtype.kind in "iu" and batch.dtype != np.uint8:
        return torch.from_numpy(batch.astype(np.int64))
    return torch.from_numpy(batch.astype(np.complex64 if batch.dtype.kind == "c" else np.float32))


@dataclass(frozen=True)
class Collate:
    """Collates samples to a batch; a class, because a closure cannot be sent to worker processes.

    Parameters
    ----------
    prepare : callable
        Converts a list of raw inputs to the inputs that the model takes.
    """

    prepare: Callable[[list[Any]], Any]

    def __call__(self, samples: list[tuple[Any, Any]]) -> tuple[Any, Tensor]:
        """Return the prepared inputs of a batch, and its labels."""
        inputs, labels = zip(*samples, strict=True)
        # Classes become int64; regression targets are float64.
        return self.prepare(list(inputs)), torch.from_numpy(np.stack(labels))


def loaders(
    source: Source,
    prepare: Callable[[list[Any]], Any] = stack_arrays,
    *,
    batch_size: int = 64,
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
) -> dict[str, DataLoader[tuple[Any, Any]]]:
    """Make the loaders of all splits.

    Every run of a loader returns all samples in the order of the data. It does not change the global state of random
    numbers, so that a run during training does not change the training.

    Parameters
    ----------
    source : Source
    prepare : callable
        Converts a list of raw inputs to the inputs that the model takes; workers that are not forked need one that can
        be pickled.
    batch_size : int
        Samples in a batch; the last batch may be smaller.
    workers : int
        Processes that read ahead; 0 reads in this process.
    share : tuple of int
        Number of this process's share, and of all shares; a `DistributedSampler` deals the samples out.

    Returns
    -------
    dict of str to DataLoader
        Batches ``(inputs, labels)`` with labels of shape ``(n,)``, int64; regression targets of shape ``(n,)`` or
        ``(n, q)``, float64.
    """
    number, count = share
    return {
        split: DataLoader(
            rows,
            batch_size=batch_size,
            shuffle=False,
            sampler=DistributedSampler(rows, count, number, shuffle=False) if count > 1 else None,
            num_workers=workers,
            collate_fn=Collate(prepare),
            generator=torch.Generator(),
        )
        for split, rows in source.splits.items()
    }
