"""What is counted of a split beside its features: samples, classes, the network's own errors."""

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
    scores : int
        Class scores that the network gives; 0 if it gives none.
    wrong : dict of str to int
        Samples whose label is not the class that the network predicts, by target.
    left_out : dict of str to int
        Samples left out of a layer because they were not finite.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("classes", "samples", "scores", "wrong", "left_out")

    def __init__(self, classes: Mapping[str, int]) -> None:
        self.classes = dict(classes)
        self.samples = 0
        self.scores = 0
        self.wrong: dict[str, int] = {}
        self.left_out: dict[str, int] = {}

    def see(self, labels: Mapping[str, Tensor], size: int) -> None:
        """Count the samples of a batch, and make room for their classes."""
        self.samples += size
        for target, values in labels.items():
            self.classes[target] = max(self.classes.get(target, 0), int(values.max()) + 1)

    def judge(self, labels: Mapping[str, Tensor], logits: Tensor | None) -> Tensor | None:
        """Count what the network gets wrong in a batch; gives the classes that it predicts, shape ``(n,)``, if any."""
        if logits is None:
            return None
        self.scores = logits.shape[1]
        predictions = logits.argmax(1)
        for target, values in labels.items():
            _add(self.wrong, {target: int((predictions != values.to(predictions.device)).sum())})
        return predictions

    def leave_out(self, layer: str, count: int) -> None:
        """Count samples of a batch that are left out of a layer."""
        _add(self.left_out, {layer: count})

    def merge(self, other: Tally) -> None:
        """Take in what another worker counted over other samples."""
        self.samples += other.samples
        self.scores = max(self.scores, other.scores)
        for target, count in other.classes.items():
            self.classes[target] = max(self.classes.get(target, 0), count)
        _add(self.wrong, other.wrong)
        _add(self.left_out, other.left_out)

    @property
    def errors(self) -> dict[str, float]:
        """Share of wrong predictions, of the targets whose classes the network's scores are of."""
        judged = {target: wrong for target, wrong in self.wrong.items() if self.scores == self.classes[target]}
        return {target: wrong / self.samples for target, wrong in judged.items()}


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count
