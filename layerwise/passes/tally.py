"""What is counted of a split beside its features: samples, classes, the network's own errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.network import Answer

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
    named, only : dict of str to list of float
        By regression target, the samples that were compared, then the sum of squared errors of every dimension: of the
        output that is called as the target, and of the network's only output where it has the target's shape.
    left_out : dict of str to int
        Samples left out of a layer because they were not finite.
    without_target : dict of str to int
        Samples left out of a regression target because it was not finite.
    """

    accumulated: ClassVar[tuple[str, ...]] = (
        *("classes", "samples", "scores", "wrong", "named", "only", "left_out", "without_target"),
    )

    def __init__(self, classes: Mapping[str, int]) -> None:
        self.classes = dict(classes)
        self.samples = 0
        self.scores = 0
        self.wrong: dict[str, int] = {}
        self.named: dict[str, list[float]] = {}
        self.only: dict[str, list[float]] = {}
        self.left_out: dict[str, int] = {}
        self.without_target: dict[str, int] = {}

    def see(self, labels: Mapping[str, Tensor], size: int) -> None:
        """Count the samples of a batch, and make room for their classes."""
        self.samples += size
        for target, values in labels.items():
            self.classes[target] = max(self.classes.get(target, 0), int(values.max()) + 1)

    def judge(self, labels: Mapping[str, Tensor], answer: Answer) -> None:
        """Count what the network gets wrong in a batch."""
        if answer.predicted is None:
            return
        self.scores = answer.scores
        for target, values in labels.items():
            _add(self.wrong, {target: int((answer.predicted != values.to(answer.predicted.device)).sum())})

    def compare(self, targets: Mapping[str, tuple[Tensor, Tensor | None]], answer: Answer, nonfinite: str) -> None:
        """Sum the squared errors of the network itself over a batch.

        Parameters
        ----------
        targets : mapping of str to (Tensor, Tensor or None)
            Values of every regression target, shape ``(n, q)``, and the samples that have one.
        answer : Answer
        nonfinite : {"raise", "drop"}
            Whether samples of which the network makes nothing finite are left out.
        """
        for target, (values, present) in targets.items():
            sums = self.named if target in answer.values else self.only
            output = answer.values.get(target, answer.values.get(""))
            if output is None or values.shape != (output := output.reshape(len(output), -1)).shape:
                continue
            squares = (output.double() - values.to(output.device, torch.float64)).square()
            if present is not None:
                squares = squares[present.to(squares.device)]
            if nonfinite == "drop":
                squares = squares[torch.isfinite(squares).all(1)]
            _add_rows(sums, {target: [float(len(squares)), *squares.sum(0).tolist()]})

    def leave_out(self, layer: str, count: int) -> None:
        """Count samples of a batch that are left out of a layer."""
        _add(self.left_out, {layer: count})

    def leave_out_of_target(self, target: str, count: int) -> None:
        """Count samples of a batch that are left out of a regression target."""
        _add(self.without_target, {target: count})

    def merge(self, other: Tally) -> None:
        """Take in what another worker counted over other samples."""
        self.samples += other.samples
        self.scores = max(self.scores, other.scores)
        for target, count in other.classes.items():
            self.classes[target] = max(self.classes.get(target, 0), count)
        _add(self.wrong, other.wrong)
        _add_rows(self.named, other.named)
        _add_rows(self.only, other.only)
        _add(self.left_out, other.left_out)
        _add(self.without_target, other.without_target)

    @property
    def errors(self) -> dict[str, float]:
        """Share of wrong predictions, of the targets whose classes the network's scores are of."""
        judged = {target: wrong for target, wrong in self.wrong.items() if self.scores == self.classes[target]}
        return {target: wrong / self.samples for target, wrong in judged.items()}

    @property
    def squares(self) -> dict[str, np.ndarray]:
        """Mean squared error by regression target and dimension, of the targets that the network's outputs are of.

        An only output is of a target if it has its shape, and neither that of another nor scores of classes.
        """
        found = dict(self.named)
        if len(self.only) == 1 and self.scores not in self.classes.values():
            found |= self.only
        return {target: np.array(sums) / (count or np.nan) for target, (count, *sums) in found.items()}


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def _add_rows(sums: dict[str, list[float]], more: Mapping[str, list[float]]) -> None:
    for name, row in more.items():
        sums[name] = [one + other for one, other in zip(sums.get(name, [0.0] * len(row)), row, strict=True)]
