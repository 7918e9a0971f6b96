"""Fingerprints of samples: equal for equal data, in any order and in batches of any size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import xxhash
from torch import Tensor

from layerwise.runtime.tensors import bytes_of

__all__ = ["DataFingerprint", "sample_hashes"]


class DataFingerprint:
    """A fingerprint of samples that does not depend on their order, on how they are batched or padded.

    Attributes
    ----------
    total : int
        The fingerprint.
    order : int
        Another of the batches in their order.
    labels, placed_labels : int
        Of the labels alone, and of each with its place among all.
    count : int
        Samples so far.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("total", "order", "labels", "placed_labels", "count")

    def __init__(self) -> None:
        self.total = 0
        self.order = 0
        self.labels = 0
        self.placed_labels = 0
        self.count = 0

    def update(self, inputs: Any, labels: Mapping[str, Tensor]) -> list[int]:
        """Take in a batch, a nest of tensors and labels by target; return a hash of every sample."""
        size = len(next(iter(labels.values())))
        # Integers of any width are the same labels.
        labels = {
            target: value.detach().cpu() if value.is_floating_point() else value.detach().cpu().long()
            for target, value in labels.items()
        }
        hashes = sample_hashes(inputs, labels, size)
        for index, digest in enumerate(hashes):
            self.total = (self.total + digest) % 2**64
            own = b"".join(bytes_of(value[index]) for value in labels.values())
            self.labels = (self.labels + xxhash.xxh3_64_intdigest(own)) % 2**64
            self.placed_labels = (self.placed_labels + xxhash.xxh3_64_intdigest(own, seed=self.count)) % 2**64
            self.count += 1
        self.order = xxhash.xxh3_64_intdigest(f"{self.order} {self.total}".encode())
        return hashes

    def merge(self, other: DataFingerprint) -> None:
        """Take in what another worker saw of the data."""
        self.total = (self.total + other.total) % 2**64
        self.labels = (self.labels + other.labels) % 2**64
        self.placed_labels = (self.placed_labels + other.placed_labels) % 2**64
        self.count += other.count

    def __str__(self) -> str:
        return f"{self.total:016x}"

    @property
    def of_labels(self) -> str:
        """The fingerprints of the labels, as text: in any order, and in theirs."""
        return f"{self.labels:016x} {self.placed_labels:016x}"


def sample_hashes(inputs: Any, labels: Mapping[str, Tensor], size: int) -> list[int]:
    """A hash of every sample of a batch, its padding left out.

    Parameters
    ----------
    inputs
        A nest of tensors.
    labels : mapping of str to Tensor
        Labels by target; none to hash the inputs alone.
    size : int
        Number of samples.
    """
    columns = [value.detach().cpu() for value in (*_tensors(inputs), *labels.values())]
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    real = mask.detach().cpu().bool() if isinstance(mask, Tensor) else None
    found = []
    for index in range(size):
        digest = xxhash.xxh3_64()
        for value in columns:
            if value.ndim and len(value) == size:
                row = value[index]
                if real is not None and value.shape == real.shape:
                    row = row[real[index]]
                digest.update(bytes_of(row))
        found.append(digest.intdigest())
    return found


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for key in sorted(value) for tensor in _tensors(value[key])]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []
