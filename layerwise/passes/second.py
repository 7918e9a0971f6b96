"""Pass 2: every sample seen from the class means, and judged by the probe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import islice

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.data.fingerprint import DataFingerprint
from layerwise.features.reading import LayerReading
from layerwise.network.answer import Answer
from layerwise.passes.checks import checked_labels, finite_rows
from layerwise.passes.feature_cache import CacheSection, FeatureCache
from layerwise.passes.label_replicates import LabelReplicates
from layerwise.passes.replicates import Replicates, TargetView, joined
from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult
from layerwise.passes.second_accumulator import Judged, SecondAccumulator
from layerwise.passes.small_batches import chunks
from layerwise.statistics import State, restore, state_of

__all__ = ["SecondPass"]


class SecondPass:
    """Accumulates pass 2 of one split into its evidence: `read` from a bank, or `begin`, `receive`, `end` and `finish`.

    Parameters
    ----------
    request : Request
    result : SplitResult
        Of pass 1 over the same split.
    train : SplitResult
        The split that judges; the same object for the training split.
    device : device
        Where what has no sample yet is accumulated.
    shared : bool
        Whether other processes have the other samples.
    beforehand : Beforehand, optional
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
        self.sketches = {item.name: request.narrowing(item) for item in request.readings}
        own, judges = ([of, *of.without, *of.shuffled] for of in (result, train))
        # The first sees every sample.
        pairs = zip(own, judges, strict=True)
        self.judging = [
            SecondAccumulator(request, seen, judge, self.sketches, device, result.spans) for seen, judge in pairs
        ]
        self.beforehand = beforehand or LabelReplicates()
        self.views = self._views()
        self.fingerprint = DataFingerprint()
        self.samples = 0
        self._seen: list[dict[str, TargetView]] = []
        self._nearest: list[Judged] = []
        if shared:
            # What lifts a probe from a span is gathered from all processes, which must come to it in one order.
            for judging in self.judging:
                judging.open_wide()

    def begin(self, batch: Batch, groups: Tensor | None = None) -> None:
        """Look at what comes with the features of a second run; `groups` of its samples where they are known."""
        self.samples += batch.size
        if self.request.ordered:
            self.fingerprint.update(batch.inputs, batch.labels)
        self._seen = self._see(self.views, batch.labels, groups)
        self._nearest = [{} for _ in self._seen]

    def receive(self, reading: LayerReading, features: Tensor) -> None:
        """Take in the features of one layer, shape ``(n, d)``."""
        start = self.samples - len(features)
        for nearest, found in zip(self._nearest, self._update(reading, features, self._seen, start), strict=True):
            nearest.update(found)

    def end(self, answer: Answer) -> None:
        """Compare with what the network itself makes of the batch."""
        found = {target: answer.of_target(target)[0] for target in self.result.errors}
        self._compare(self._nearest, {target: own for target, own in found.items() if own is not None})

    def read(self, bank: FeatureCache | CacheSection, readings: Iterable[LayerReading]) -> None:
        """Take the features from the bank, one layer after the other.

        Without a target that has classes there is nothing to judge.
        """
        if not self.result.classes:
            return
        labels = [list(bank.get(f"labels of {target}")) for target in self.result.classes]
        views = self._views()
        batches = [dict(zip(self.result.classes, values, strict=True)) for values in zip(*labels, strict=True)]
        groups = list(bank.get("groups")) if self.request.apart and self.request.jackknife else [None] * len(batches)
        seen = [self._see(views, values, own) for values, own in zip(batches, groups, strict=True)]
        sizes = [len(values) for values in labels[0]] if labels else []
        predictions = {target: list(bank.get(f"predictions of {target}")) for target in self.result.errors}
        for reading in readings:
            features_of, start = bank.get(reading.name), 0
            for lump in chunks(sizes, reading.features):
                features = torch.cat(list(islice(features_of, lump.stop - lump.start)))
                nearest = self._update(reading, features, joined(seen[lump]), start)
                start += len(features)
                self._compare(nearest, {target: torch.cat(own[lump]) for target, own in predictions.items() if own})
            self.finish(reading)

    def state(self) -> State:
        """What was accumulated so far."""
        return {
            "samples": self.samples,
            "views": self.views.state(),
            "fingerprint": state_of(self.fingerprint),
            "judging": [judging.state() for judging in self.judging],
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.samples = state["samples"]
        self.views.restore(state["views"])
        restore(self.fingerprint, state["fingerprint"])
        for judging, held in zip(self.judging, state["judging"], strict=True):
            judging.restore(held)

    def finish(self, reading: LayerReading) -> None:
        """Put what was accumulated of one layer into the evidence."""
        for judging in self.judging:
            judging.finish(reading, self.shared)

    def _views(self) -> Replicates:
        return Replicates(self.request, self.beforehand.shuffles, self.beforehand.groups)

    def _see(
        self, views: Replicates, labels: Mapping[str, Tensor], groups: Tensor | None
    ) -> list[dict[str, TargetView]]:
        """What each measurement sees of the next batch, of the targets with classes."""
        request = self.request
        ids = {
            target: checked_labels(own, target, request.classes)
            for target, own in labels.items()
            if target not in request.dimensions
        }
        return views.of({target: (request.vocabularies[target].rows(own), None) for target, own in ids.items()}, groups)

    def _update(
        self, reading: LayerReading, features: Tensor, seen: list[dict[str, TargetView]], start: int
    ) -> list[Judged]:
        """Take in the features of one layer, of the samples from `start` on; return the nearest classes."""
        kept = finite_rows(features, self.request.nonfinite)
        sketch = self.sketches[reading.name]

        @cache
        def narrow() -> Tensor:
            if reading.name in self.result.spans:
                return self.result.spans[reading.name].coordinates[start : start + len(features)].to(features.device)
            return features if sketch is None else sketch(features)

        return [
            judging.update(reading, features, narrow, kept, own)
            for judging, own in zip(self.judging, seen, strict=True)
        ]

    def _compare(self, nearest: list[Judged], scores: Mapping[str, Tensor]) -> None:
        """Count where the nearest class is not the one whose score is the largest, by target."""
        predictions = {target: self.result.classes_of(own, target) for target, own in scores.items()}
        for judging, own in zip(self.judging, nearest, strict=True):
            judging.compare(own, predictions)
