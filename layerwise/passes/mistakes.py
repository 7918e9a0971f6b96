"""What the network itself gets wrong: the share of its predictions, and the squared errors of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.network import Answer
from layerwise.passes.request import Request
from layerwise.passes.views import Seen

__all__ = ["Mistakes"]


class Mistakes:
    """Counts the network's own errors over the samples that one measurement sees.

    Attributes
    ----------
    scores : dict of str to int
        Class scores that the network gives, by target; none where it gives none.
    judged, wrong : dict of str to int
        Samples whose label was compared with the class that the network predicts, and those where it is another one,
        by target.
    named, only : dict of str to list of float
        By regression target, the samples that were compared, then the sum of squared errors of every dimension: of the
        output that is called as the target, and of the network's only output where it has the target's shape.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("scores", "judged", "wrong", "named", "only")

    def __init__(self) -> None:
        self.scores: dict[str, int] = {}
        self.judged: dict[str, int] = {}
        self.wrong: dict[str, int] = {}
        self.named: dict[str, list[float]] = {}
        self.only: dict[str, list[float]] = {}

    def update(self, seen: Mapping[str, Seen], answer: Answer, request: Request) -> None:
        """Take in what is seen of every target of a batch, and what the network makes of the batch."""
        for target, (values, counts) in seen.items():
            if target in request.dimensions:
                self._compare(target, values, counts, answer, request.nonfinite)
                continue
            predicted, scores = answer.of_target(target)
            if predicted is not None:
                self.scores[target] = scores
                wrong = _of_those(predicted != values.to(predicted.device), counts)
                self.judged[target] = self.judged.get(target, 0) + len(wrong)
                self.wrong[target] = self.wrong.get(target, 0) + int(wrong.sum())

    def merge(self, other: Mistakes) -> None:
        """Take in what another worker counted over other samples."""
        self.scores |= other.scores
        for name in ("judged", "wrong"):
            own = getattr(self, name)
            own.update({target: own.get(target, 0) + count for target, count in getattr(other, name).items()})
        for target, row in other.named.items():
            _add(self.named, target, row)
        for target, row in other.only.items():
            _add(self.only, target, row)

    def errors(self, classes: Mapping[str, int]) -> dict[str, float]:
        """Share of wrong predictions, of the targets whose classes, so many, their scores are of."""
        of_scores = [target for target in self.wrong if self.scores[target] == classes[target]]
        return {target: self.wrong[target] / (self.judged[target] or np.nan) for target in of_scores}

    def squares(self, classes: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Mean squared error by regression target and dimension, of the targets that the network's outputs are of.

        An only output is of a target if it has its shape, and neither that of another nor scores of classes.
        """
        found = dict(self.named)
        if len(self.only) == 1 and not any(self.scores[target] == classes[target] for target in self.scores):
            found |= self.only
        return {target: np.array(sums) / (count or np.nan) for target, (count, *sums) in found.items()}

    def _compare(self, target: str, values: Tensor, counts: Tensor | None, answer: Answer, nonfinite: str) -> None:
        """Sum the squared errors of one regression target; samples of which nothing finite is made may be left out."""
        output = answer.values.get(target, answer.values.get(""))
        if output is None or values.shape != (output := output.reshape(len(output), -1)).shape:
            return
        squares = _of_those((output.double() - values.to(output.device, torch.float64)).square(), counts)
        if nonfinite == "drop":
            squares = squares[torch.isfinite(squares).all(1)]
        sums = self.named if target in answer.values else self.only
        _add(sums, target, [float(len(squares)), *squares.sum(0).tolist()])


def _of_those(rows: Tensor, counts: Tensor | None) -> Tensor:
    return rows if counts is None else rows[counts.to(rows.device)]


def _add(sums: dict[str, list[float]], target: str, more: list[float]) -> None:
    sums[target] = [one + other for one, other in zip(sums.get(target, [0.0] * len(more)), more, strict=True)]
