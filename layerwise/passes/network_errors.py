"""The network's own errors: the share of wrong predictions, and the squared errors of its outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.network.answer import Answer
from layerwise.passes.matching import match_target
from layerwise.passes.request import PassRequest
from layerwise.passes.target_views import TargetViews
from layerwise.runtime.statistics_device import for_statistics

__all__ = ["NetworkErrors"]


class NetworkErrors:
    """Counts the network's own errors over the samples that one measurement sees.

    Attributes
    ----------
    scores : dict of str to int
        The number of the network's class scores, by target; targets without scores are missing.
    common : dict of str to bool
        Whether a target's scores are the network's own, and not those of an output for the target.
    pairs : dict of str to dict
        The samples that have a class (its row in the vocabulary) and their largest score in a place, by target: which
        score belongs to which class is known once all classes are. Where it is known before, wrong scores count as -1.
    predicted : dict of str to dict
        The samples that have their largest score in a place, by target.
    named, only : dict of str to list of float
        By regression target, the number of compared samples, then the sum of squared errors of every dimension: for the
        output that has the target's name, and for the network's only output if it has the target's shape.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("scores", "common", "pairs", "predicted", "named", "only")

    def __init__(self) -> None:
        self.scores: dict[str, int] = {}
        self.common: dict[str, bool] = {}
        self.pairs: dict[str, dict[tuple[int, int], int]] = {}
        self.predicted: dict[str, dict[int, int]] = {}
        self._known: dict[str, Tensor | None] = {}
        self.named: dict[str, list[float]] = {}
        self.only: dict[str, list[float]] = {}

    def update(self, views: TargetViews, answer: Answer, request: PassRequest) -> None:
        """Take in the views of a batch, and the network's answer to it."""
        for target, (values, counts) in views.items():
            if target in request.dimensions:
                self._compare(target, values, counts, answer, request.settings.nonfinite)
                continue
            predicted, scores = answer.of_target(target)
            if predicted is not None:
                self.scores[target], self.common[target] = scores, not answer.has_scores_of(target)
                self._pair(target, values.to(predicted.device), predicted, counts, request)

    def merge(self, other: NetworkErrors) -> None:
        """Add the counts of another process, which has other samples."""
        self.scores |= other.scores
        self.common |= other.common
        for target, pairs in other.pairs.items():
            self._count(target, pairs)
        for target, counts in other.predicted.items():
            _add_counts(self.predicted.setdefault(target, {}), counts.items())
        for target, row in other.named.items():
            _add(self.named, target, row)
        for target, row in other.only.items():
            _add(self.only, target, row)

    def move(self, rows: Mapping[str, Tensor]) -> None:
        """Move every class to its new row."""
        for target, pairs in self.pairs.items():
            places = rows[target].tolist()
            self.pairs[target] = {(places[row], score): count for (row, score), count in pairs.items()}

    def errors(self, rows: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the share of wrong predictions, by target, given the score of every class."""
        found = {}
        for target in [target for target in rows if target in self.pairs]:
            own, pairs = rows[target].tolist(), self.pairs[target]
            right = sum(count for (row, score), count in pairs.items() if own[row] == score)
            judged = sum(pairs.values())
            found[target] = (judged - right) / (judged or np.nan)
        return found

    def class_errors(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the share of wrong predictions of each class, shape ``(C,)``, by target; NaN without samples."""
        return {target: 1 - right / own for target, (right, own, _) in self._confusion(rows).items()}

    def mean_ious(self, rows: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the mean over classes of intersection over union, by target; classes that never occur are left out."""
        found = {}
        for target, (right, own, predicted) in self._confusion(rows).items():
            union = np.nan_to_num(own) + predicted - right
            occurring = union > 0
            ratios = right[occurring] / union[occurring]
            found[target] = float(ratios.mean()) if occurring.any() else np.nan
        return found

    def _confusion(self, rows: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Per class: samples predicted rightly, all samples (NaN for none), and samples predicted as this class."""
        found = {}
        for target in [target for target in rows if target in self.pairs]:
            own = rows[target].tolist()
            right, counts = np.zeros(len(own)), np.zeros(len(own))
            for (row, score), count in self.pairs[target].items():
                counts[row] += count
                right[row] += count * (own[row] == score)
            taken = self.predicted.get(target, {})
            predicted = np.array([taken.get(score, 0) for score in own], dtype=float)
            found[target] = (right, np.where(counts > 0, counts, np.nan), predicted)
        return found

    def squares(self, judged: Collection[str]) -> dict[str, np.ndarray]:
        """Return the mean squared error by regression target and dimension, for targets that the network predicts.

        The only output belongs to a target if it has the shape of this target alone, and no target is `judged` by class
        scores.
        """
        found = dict(self.named)
        if len(self.only) == 1 and not judged:
            found |= self.only
        return {target: np.array(sums) / (count or np.nan) for target, (count, *sums) in found.items()}

    def _compare(self, target: str, values: Tensor, counts: Tensor | None, answer: Answer, nonfinite: str) -> None:
        """Sum the squared errors of one regression target; samples with an infinite error may be left out."""
        name = answer.name_of(target)
        output = answer.values.get(name, answer.values.get(""))
        if output is None or values.shape != (output := output.reshape(len(output), -1)).shape:
            return
        output = for_statistics(output)
        squares = _of_those((output.double() - values.to(output.device, torch.float64)).square(), counts)
        if nonfinite == "drop":
            squares = squares[torch.isfinite(squares).all(1)]
        sums = self.named if name in answer.values else self.only
        _add(sums, target, [float(len(squares)), *squares.sum(0).tolist()])

    def _pair(self, target: str, rows: Tensor, scores: Tensor, counts: Tensor | None, request: PassRequest) -> None:
        """Count pairs of class and largest score; with declared classes, count every wrong score as -1."""
        number = self.scores[target]
        _add_counts(self.predicted.setdefault(target, {}), _counted(_of_those(scores, counts)))
        if target in request.classes:
            if target not in self._known:
                ids = np.arange(request.classes[target])
                known, _ = match_target(request, target, ids, number, common=self.common[target])
                self._known[target] = None if known is None else torch.from_numpy(known)
            known_rows = self._known[target]
            if known_rows is None:
                return
            numbers = request.vocabularies[target].ids.to(rows.device)[rows]
            scores = torch.where(known_rows.to(scores.device)[numbers] == scores, scores, -1)
        both = _of_those(rows * (number + 1) + scores + 1, counts)
        pairs = ((divmod(key, number + 1), count) for key, count in _counted(both))
        self._count(target, {(row, score - 1): count for (row, score), count in pairs})

    def _count(self, target: str, more: Mapping[tuple[int, int], int]) -> None:
        pairs = self.pairs.setdefault(target, {})
        for pair, count in more.items():
            pairs[pair] = pairs.get(pair, 0) + count


def _counted(values: Tensor) -> Iterator[tuple[int, int]]:
    """The values that occur, and how often."""
    present, counts = values.unique(return_counts=True)
    return zip(present.tolist(), counts.tolist(), strict=True)


def _add_counts(counts: dict[int, int], more: Iterable[tuple[int, int]]) -> None:
    for key, count in more:
        counts[key] = counts.get(key, 0) + count


def _of_those(rows: Tensor, counts: Tensor | None) -> Tensor:
    return rows if counts is None else rows[counts.to(rows.device)]


def _add(sums: dict[str, list[float]], target: str, more: list[float]) -> None:
    sums[target] = [one + other for one, other in zip(sums.get(target, [0.0] * len(more)), more, strict=True)]
