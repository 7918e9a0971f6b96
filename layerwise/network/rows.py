"""Batches that consist of some of the samples of another batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.runtime.tensors import map_tensors

__all__ = ["chosen_rows", "first_samples", "has_rows", "part_of", "with_rows"]


def with_rows(batch: Batch, rows: Sequence[int]) -> Batch:
    """Return a batch of the given samples of another, in that order; a sample may come twice."""
    index = torch.tensor(list(rows))
    return chosen_rows(batch, lambda values: values[index.to(values.device)], len(index))


def chosen_rows(batch: Batch, choose: Callable[[Tensor], Tensor], size: int) -> Batch:
    """Return a batch of `size` samples: `choose` takes their rows from every tensor that has a row for each sample."""

    def chosen(values: Tensor) -> Tensor:
        return choose(values) if has_rows(values, batch.size) else values

    return Batch(
        map_tensors(batch.inputs, chosen),
        {target: chosen(values) for target, values in batch.labels.items()},
        size,
        None if batch.mask is None else chosen(batch.mask),
        {name: chosen(mask) for name, mask in batch.masks.items()},
    )


def first_samples(batch: Batch, count: int) -> Batch:
    """Return a batch of the first `count` samples of another."""
    return part_of(batch, 0, count)


def part_of(batch: Batch, start: int, stop: int) -> Batch:
    """Return a batch of the samples of another from `start` on, up to `stop` or its end."""
    stop = min(stop, batch.size)
    return chosen_rows(batch, lambda values: values[start:stop], stop - start)


def has_rows(values: Tensor, size: int) -> bool:
    """Return whether a tensor has a row for each of `size` samples."""
    return values.ndim > 0 and len(values) == size
