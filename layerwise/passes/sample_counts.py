"""Counts of a split: samples, classes, and samples that were left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["SampleCounts"]


class SampleCounts:
    """Counts of one split.

    Attributes
    ----------
    samples : int
    classes : dict of str to Tensor
        Samples in every row of a target's vocabulary, shape ``(C,)``.
    left_out : dict of str to int
        Samples left out of a layer because they were not finite.
    without_target : dict of str to int
        Samples left out of a regression target because it was not finite.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("classes", "samples", "left_out", "without_target")

    def __init__(self) -> None:
        self.classes: dict[str, Tensor] = {}
        self.samples = 0
        self.left_out: dict[str, int] = {}
        self.without_target: dict[str, int] = {}

    def count(self, labels: Mapping[str, Tensor], size: int) -> None:
        """Count the samples of a batch, given the rows of their classes."""
        self.samples += size
        for target, rows in labels.items():
            self._add_classes(target, rows.bincount().cpu())

    def move(self, rows: Mapping[str, Tensor]) -> None:
        """Move the count of every class to its new row."""
        for target, counts in self.classes.items():
            moved = counts.new_zeros(int(rows[target].max()) + 1)
            moved[rows[target][: len(counts)]] = counts
            self.classes[target] = moved

    def leave_out(self, layer: str, count: int) -> None:
        """Count samples of a batch that are left out of a layer."""
        _add(self.left_out, {layer: count})

    def leave_out_of_target(self, target: str, count: int) -> None:
        """Count samples of a batch that are left out of a regression target."""
        _add(self.without_target, {target: count})

    def merge(self, other: SampleCounts) -> None:
        """Add the counts of another process, which has other samples."""
        self.samples += other.samples
        for target, counts in other.classes.items():
            self._add_classes(target, counts)
        _add(self.left_out, other.left_out)
        _add(self.without_target, other.without_target)

    def _add_classes(self, target: str, more: Tensor) -> None:
        counts = self.classes.get(target, more.new_zeros(0))
        missing = len(more) - len(counts)
        counts = torch.cat([counts, counts.new_zeros(missing)]) if missing > 0 else counts.clone()
        counts[: len(more)] += more
        self.classes[target] = counts


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count
