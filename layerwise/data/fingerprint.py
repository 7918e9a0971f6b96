"""Fingerprints of samples: equal for equal data, in any order and any batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import xxhash
from torch import Tensor

from layerwise.runtime.tensors import bytes_of, leaves

__all__ = ["DataFingerprint", "sample_hashes"]


class DataFingerprint:
    """A fingerprint of samples that does not depend on their order, batch size or padding.

    Attributes
    ----------
    total : int
        The fingerprint.
    order : int
        A fingerprint that depends on the batches and their order.
    labels, placed_labels : int
        Fingerprints of the labels alone, and of the labels with their positions.
    count : int
        Number of samples so far.
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
        # Labels of equal value are equal, whatever the width of their integers.
        labels = {
            target: value.detach().cpu() if value.is_floating_point() else value.detach().cpu().long()
            for target, value in labels.items()
        }
        hashes = sample_hashes(inputs, labels, size)
        for index, digest in enumerate(hashes):
            self.total = (self.total + digest) % 2**64
            label_bytes = b"".join(bytes_of(value[index]) for value in labels.values())
            self.labels = (self.labels + xxhash.xxh3_64_intdigest(label_bytes)) % 2**64
            placed = xxhash.xxh3_64_intdigest(label_bytes, seed=self.count)
            self.placed_labels = (self.placed_labels + placed) % 2**64
            self.count += 1
        self.order = xxhash.xxh3_64_intdigest(f"{self.order} {self.total}".encode())
        return hashes

    def merge(self, other: DataFingerprint) -> None:
        """Add the samples of another worker."""
        self.total = (self.total + other.total) % 2**64
        self.labels = (self.labels + other.labels) % 2**64
        self.placed_labels = (self.placed_labels + other.placed_labels) % 2**64
        self.count += other.count

    def __str__(self) -> str:
        return f"{self.total:016x}"

    @property
    def of_labels(self) -> str:
        """Both fingerprints of the labels, as text: without and with their order."""
        return f"{self.labels:016x} {self.placed_labels:016x}"


def sample_hashes(inputs: Any, labels: Mapping[str, Tensor], size: int) -> list[int]:
    """Return a hash of every sample of a batch, without its padding.

    Parameters
    ----------
    inputs
        Nested tensors.
    labels : mapping of str to Tensor
        Labels by target; empty to hash the inputs alone.
    size : int
        Number of samples.
    """
    tensors = [leaf for leaf in leaves(inputs, by_key=True) if isinstance(leaf, Tensor)]
    columns = [value.detach().cpu() for value in (*tensors, *labels.values())]
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    real = mask.detach().cpu().bool() if isinstance(mask, Tensor) else None
    hashes = []
    for index in range(size):
        digest = xxhash.xxh3_64()
        for value in columns:
            if value.ndim and len(value) == size:
                row = value[index]
                if real is not None and value.shape == real.shape:
                    row = row[real[index]]
                digest.update(bytes_of(row))
        hashes.append(digest.intdigest())
    return hashes
