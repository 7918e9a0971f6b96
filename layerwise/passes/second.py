"""Pass 2: every sample seen from the class means, and judged by the probe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.data.fingerprint import DataFingerprint
from layerwise.features.reading import LayerReading
from layerwise.network.answer import Answer
from layerwise.passes.cached_batches import CachedBatches
from layerwise.passes.checks import checked_labels, finite_rows
from layerwise.passes.feature_cache import CacheSection, FeatureCache
from layerwise.passes.label_replicates import LabelReplicates
from layerwise.passes.replicate_views import ReplicateViews
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult
from layerwise.passes.second_accumulator import NearestClasses, SecondAccumulator
from layerwise.passes.target_views import TargetViews, joined_replicates
from layerwise.statistics import State, restore, state_of

__all__ = ["SecondPass"]


class SecondPass:
    """Accumulates pass 2 of one split: `read` from the feature cache, or `begin`, `receive`, `end` and `finish`.

    Parameters
    ----------
    request : PassRequest
    result : SplitResult
        The result of pass 1 over the same split, whose evidence is extended.
    train : SplitResult
        The split that judges; the same object for the training split.
    device : device
        Where what has no sample yet is accumulated.
    shared : bool
        Whether other processes have the other samples.
    beforehand : LabelReplicates, optional
        Shuffles of the labels, and groups of the samples.
    """

    def __init__(
        self,
        request: PassRequest,
        result: SplitResult,
        train: SplitResult,
        device: torch.device,
        *,
        shared: bool = False,
        beforehand: LabelReplicates | None = None,
    ) -> None:
        self.request = request
        self.result = result
        self.shared = shared
        self.sketches = {reading.name: request.narrowing(reading) for reading in request.readings}
        self.accumulators = result.replicates.paired_with(train.replicates).map(
            lambda pair: SecondAccumulator(request, *pair, self.sketches, device, result.spans)
        )
        self.beforehand = beforehand or LabelReplicates()
        self._replicates = self._fresh_views()
        self.fingerprint = DataFingerprint()
        self.samples = 0
        self._views: Replicates[TargetViews] = Replicates({})
        self._nearest: Replicates[NearestClasses] = Replicates({})
        if shared:
            # What lifts a probe from a span is gathered from all processes, which must come to it in one order.
            for accumulator in self.accumulators:
                accumulator.open_wide()

    def begin(self, batch: Batch, groups: Tensor | None = None) -> None:
        """Take what comes with the features of a batch; `groups` of its samples where they are known."""
        self.samples += batch.size
        if self.request.ordered:
            self.fingerprint.update(batch.inputs, batch.labels)
        self._views = self._see(self._replicates, batch.labels, groups)
        self._nearest = self._views.map(lambda _: {})

    def receive(self, reading: LayerReading, features: Tensor) -> None:
        """Take in the features of one layer, shape ``(n, d)``."""
        nearest = self._update(reading, features, self._views, self.samples - len(features))
        for known, more in zip(self._nearest, nearest, strict=True):
            known.update(more)

    def end(self, answer: Answer) -> None:
        """Compare with the network's own answer to the batch."""
        predictions = {target: answer.of_target(target)[0] for target in self.result.errors}
        self._compare(self._nearest, {target: own for target, own in predictions.items() if own is not None})

    def read(self, feature_cache: FeatureCache | CacheSection, readings: Iterable[LayerReading]) -> None:
        """Take the features from the feature cache, one layer after the other.

        Without a target that has classes there is nothing to judge.
        """
        if not self.result.classes:
            return
        batches = CachedBatches(feature_cache, list(self.result.classes), list(self.result.errors))
        replicates = self._fresh_views()
        views = [self._see(replicates, labels, groups) for labels, groups in batches.labels()]
        for reading in readings:
            start = 0
            for chunk, features in batches.chunks_of(reading):
                nearest = self._update(reading, features, joined_replicates(views[chunk]), start)
                start += len(features)
                self._compare(nearest, batches.predictions_of(chunk))
            self.finish(reading)

    def state(self) -> State:
        """Return what was accumulated so far."""
        return {
            "samples": self.samples,
            "replicates": self._replicates.state(),
            "fingerprint": state_of(self.fingerprint),
            "accumulators": [accumulator.state() for accumulator in self.accumulators],
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.samples = state["samples"]
        self._replicates.restore(state["replicates"])
        restore(self.fingerprint, state["fingerprint"])
        for accumulator, own in zip(self.accumulators, state["accumulators"], strict=True):
            accumulator.restore(own)

    def finish(self, reading: LayerReading) -> None:
        """Put what was accumulated of one layer into the evidence."""
        for accumulator in self.accumulators:
            accumulator.finish(reading, self.shared)

    def _fresh_views(self) -> ReplicateViews:
        return ReplicateViews(self.request, self.beforehand.shuffles, self.beforehand.groups)

    def _see(
        self, replicates: ReplicateViews, labels: Mapping[str, Tensor], groups: Tensor | None
    ) -> Replicates[TargetViews]:
        """Return what each measurement sees of the next batch, for the targets with classes."""
        request = self.request
        views: TargetViews = {}
        for target, values in labels.items():
            if target not in request.dimensions:
                ids = checked_labels(values, target, request.classes)
                views[target] = (request.vocabularies[target].rows(ids), None)
        return replicates.of(views, groups)

    def _update(
        self, reading: LayerReading, features: Tensor, views: Replicates[TargetViews], start: int
    ) -> Replicates[NearestClasses]:
        """Take in the features of one layer, of the samples from `start` on; return the nearest classes."""
        kept = finite_rows(features, self.request.settings.nonfinite)
        sketch = self.sketches[reading.name]

        @cache
        def narrow() -> Tensor:
            if reading.name in self.result.spans:
                return self.result.spans[reading.name].coordinates[start : start + len(features)].to(features.device)
            return features if sketch is None else sketch(features)

        return self.accumulators.paired_with(views).map(
            lambda pair: pair[0].update(reading, features, narrow, kept, pair[1])
        )

    def _compare(self, nearest: Replicates[NearestClasses], scores: Mapping[str, Tensor]) -> None:
        """Count where the nearest class is not the one whose score is the largest, by target."""
        predictions = {target: _classes_of_scores(self.result, target, own) for target, own in scores.items()}
        for accumulator, own in zip(self.accumulators, nearest, strict=True):
            accumulator.compare(own, predictions)


def _classes_of_scores(result: SplitResult, target: str, scores: Tensor) -> Tensor:
    """The class (its row in the vocabulary) that each score belongs to; -1 where it belongs to none."""
    table = torch.full((result.scores[target],), -1)
    table[result.rows[target]] = torch.arange(len(result.rows[target]))
    return table.to(scores.device)[scores]
