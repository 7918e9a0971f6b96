"""Digests of the batches that a pass took in, to compare them when an interrupted pass goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.runtime.tensors import bytes_of

__all__ = ["BatchesSeen", "digest_of"]


class BatchesSeen:
    """Sizes of batches and digests of their inputs and labels, in order.

    Parameters
    ----------
    rows : Tensor, optional
        The `rows` of an earlier run, to compare with.
    """

    def __init__(self, rows: Tensor | None = None) -> None:
        self._rows: list[tuple[int, int, int]] = [] if rows is None else [tuple(row) for row in rows.tolist()]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Tensor:
        """A row for each batch, int64 of shape ``(n, 3)``: its size, and digests of inputs and labels."""
        return torch.tensor(self._rows, dtype=torch.int64).reshape(-1, 3)

    def add(self, batch: Batch) -> None:
        """Take in the next batch."""
        self._rows.append(_row(batch))

    def difference(self, number: int, batch: Batch | None) -> str:
        """Return how a batch differs from the one with that number; empty if it does not.

        Parameters
        ----------
        number : int
        batch : Batch or None
            None if the data ended before.
        """
        if number >= len(self._rows):
            return "" if batch is None else f"it has more than the {number} batches that it had"
        if batch is None:
            return f"it has {number} batches, and had {len(self._rows)} and maybe more"
        had, has = self._rows[number], _row(batch)
        if had[0] != has[0]:
            return f"batch {number} has {has[0]} samples, and had {had[0]}"
        parts = [name for name, one, other in zip(("inputs", "labels"), had[1:], has[1:], strict=True) if one != other]
        return f"batch {number} has other {' and '.join(parts)}, or comes in another order" if parts else ""


def digest_of(value: Any) -> int:
    """Digest a nest of tensors, mappings, sequences, objects and plain values: 64 bits, signed."""
    digest = xxhash.xxh3_64()
    _take_in(digest, value, set())
    return digest.intdigest() - 2**63


def _row(batch: Batch) -> tuple[int, int, int]:
    return batch.size, digest_of([batch.inputs, batch.mask]), digest_of(batch.labels)


def _take_in(digest: xxhash.xxh3_64, value: Any, above: set[int]) -> None:
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        value = torch.from_numpy(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    if isinstance(value, Tensor) and (value.is_nested or value.layout is not torch.strided):
        value = list(value.unbind()) if value.is_nested else value.to_dense()
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(bytes_of(value))
    elif value is None or isinstance(value, str | bytes | int | float):
        digest.update(repr(value).encode())
    elif isinstance(value, Mapping):
        digest.update(f"{len(value)} keys".encode())
        for key in sorted(value, key=str):
            digest.update(repr(key).encode())
            _take_in(digest, value[key], above)
    elif isinstance(value, tuple | list):
        digest.update(f"{len(value)} items".encode())
        for item in value:
            _take_in(digest, item, above)
    elif hasattr(value, "__dict__") and id(value) not in above:
        # Such as the batch of a graph, whose attributes may point back to it.
        _take_in(digest, vars(value), above | {id(value)})
