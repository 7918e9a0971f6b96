"""What is counted of a split beside its features: samples, classes, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

__all__ = ["Tally"]


class Tally:
    """Counts of one split.

    Attributes
    ----------
    classes : dict of str to int
        Number of classes of every target: as declared, or as many as the largest label asks for.
    samples : int
    left_out : dict of str to int
        Samples left out of a layer because they were not finite.
    without_target : dict of str to int
        Samples left out of a regression target because it was not finite.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("classes", "samples", "left_out", "without_target")

    def __init__(self, classes: Mapping[str, int]) -> None:
        self.classes = dict(classes)
        self.samples = 0
        self.left_out: dict[str, int] = {}
        self.without_target: dict[str, int] = {}

    def see(self, labels: Mapping[str, Tensor], size: int) -> None:
        """Count the samples of a batch, and make room for their classes."""
        self.samples += size
        for target, values in labels.items():
            self.classes[target] = max(self.classes.get(target, 0), int(values.max()) + 1)

    def leave_out(self, layer: str, count: int) -> None:
        """Count samples of a batch that are left out of a layer."""
        _add(self.left_out, {layer: count})

    def leave_out_of_target(self, target: str, count: int) -> None:
        """Count samples of a batch that are left out of a regression target."""
        _add(self.without_target, {target: count})

    def merge(self, other: Tally) -> None:
        """Take in what another worker counted over other samples."""
        self.samples += other.samples
        for target, count in other.classes.items():
            self.classes[target] = max(self.classes.get(target, 0), count)
        _add(self.left_out, other.left_out)
        _add(self.without_target, other.without_target)


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count
