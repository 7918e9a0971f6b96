"""Pass 1: moments of every target and layer, and the features into the bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.data.fingerprint import DataFingerprint
from layerwise.errors import InvalidData
from layerwise.features.reading import LayerReading
from layerwise.network.answer import Answer
from layerwise.passes.checks import checked_labels, checked_targets, finite_rows
from layerwise.passes.feature_cache import CacheSection, FeatureCache
from layerwise.passes.first_accumulator import FirstAccumulator
from layerwise.passes.hashed_subsample import Subsample
from layerwise.passes.label_replicates import LabelReplicates
from layerwise.passes.matching import leave_contested, match_classes
from layerwise.passes.network_errors import NetworkErrors
from layerwise.passes.replicates import Replicates, TargetView
from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult
from layerwise.passes.sample_counts import SampleCounts
from layerwise.passes.small_batches import SmallBatchBuffer
from layerwise.passes.spans import Span
from layerwise.passes.vocabulary import settle
from layerwise.passes.wide import WideLayers
from layerwise.runtime.tensors import map_tensors
from layerwise.statistics import State, restore, state_of
from layerwise.statistics.merging import merge_across_processes

__all__ = ["FirstPass"]


class FirstPass:
    """Accumulates pass 1 of one split, batch by batch: `begin`, `receive` for every layer, `end`; then `finish`."""

    def __init__(
        self,
        request: PassRequest,
        bank: FeatureCache | CacheSection | None,
        device: torch.device,
        beforehand: LabelReplicates | None = None,
    ) -> None:
        self.request = request
        self.bank = bank
        self.device = device
        self.tally = SampleCounts()
        self.mistakes = [NetworkErrors() for _ in range(1 + request.jackknife)]
        self.fingerprint = DataFingerprint()
        known = beforehand or LabelReplicates()
        self.views = Replicates(request, known.shuffles, known.groups)
        self.sketches = {item.name: request.narrowing(item) for item in request.readings}
        # The first sees every sample; under shuffled labels its covariance is that of all, if all count there.
        own = [True] * (1 + request.jackknife) + [request.reduction == "pixels"] * request.null
        self.gathered = [FirstAccumulator(request, self.sketches, device, scatter=scatter) for scatter in own]
        self.waiting = SmallBatchBuffer()
        self.wide = WideLayers(bank, request.nonfinite, request.plan.samples)
        self.names_of_wide = {reading.name for reading in request.wide}
        self.subsample = Subsample(request.plan.compared) if any(self.sketches.values()) else None
        self.spans: dict[str, Span] = {}
        self.labels: dict[str, Tensor] = {}
        self.rows: dict[str, Tensor] = {}
        self.earlier = {target: request.vocabularies[target].settled for target in self._of_classes}
        self.targets: dict[str, TargetView] = {}
        self.seen: list[dict[str, TargetView]] = []
        self.groups: Tensor | None = None
        # Not where positions are drawn: the network is judged by all.
        self.counts_mistakes = True

    def begin(self, batch: Batch, number: int) -> None:
        """Look at what comes with the features of a batch."""
        self.label(batch, number)
        hashes = self.fingerprint.update(batch.inputs, batch.labels)
        if self.subsample is not None:
            self.subsample.begin(batch.labels, batch.size, hashes)

    def label(self, batch: Batch, number: int, groups: Tensor | None = None) -> None:
        """Take the labels of a batch; `groups` of its samples where they are known.

        Raises
        ------
        InvalidData, InvalidLabels
            If the labels are of other targets, or no classes.
        BudgetExceeded
            If there are more classes than there is memory for.
        """
        if set(batch.labels) != set(self.request.targets):
            raise InvalidData(
                f"a batch has labels of {', '.join(batch.labels)}, the first had labels of "
                f"{', '.join(self.request.targets)}"
            )
        regression = self.request.dimensions
        self.labels = {
            name: checked_labels(labels, name, self.request.classes)
            for name, labels in batch.labels.items()
            if name not in regression
        }
        self.targets = {
            name: checked_targets(values, name, self.request, number)
            for name, values in batch.labels.items()
            if name in regression
        }
        for name, (_, present) in self.targets.items():
            if present is not None:
                self.tally.leave_out_of_target(name, int((~present).sum()))
        self.waiting.begin(batch.size)
        vocabularies = self.request.vocabularies
        self.rows = {name: vocabularies[name].encode(labels) for name, labels in self.labels.items()}
        self.tally.see(self.rows, batch.size)
        self.request.plan.make_room(max((len(vocabularies[name]) for name in self.rows), default=0))
        every: dict[str, TargetView] = {**{name: (values, None) for name, values in self.rows.items()}, **self.targets}
        self.groups = groups
        self.seen = self.views.of(every, groups)

    def receive(self, reading: LayerReading, features: Tensor) -> None:
        """Take in the features of one layer, shape ``(n, d)``."""
        if self.bank is not None and (self.request.plan.keeps_features or reading.name in self.names_of_wide):
            self.bank.put(reading.name, features)
        if self.subsample is not None and self.sketches[reading.name] is not None:
            self.subsample.receive(reading.name, features)
        if not self.waiting.hold(reading, features):
            self._take_in(reading, features, self.seen)

    def _take_in(self, reading: LayerReading, features: Tensor, every: list[dict[str, TargetView]]) -> None:
        """Take in the features of one layer, of one batch or of several, and what is seen of them."""
        kept = finite_rows(features, self.request.nonfinite)
        if kept is not None:
            self.tally.leave_out(reading.name, int((~kept).sum()))
        sketch = self.sketches[reading.name]
        narrow = sketch(features) if sketch is not None else None
        for gathering, seen in zip(self.gathered, every, strict=True):
            gathering.update(reading, features, narrow, kept, seen)

    def _take_in_waiting(self) -> None:
        """Take in what waits."""
        waiting, seen = self.waiting.take()
        for reading in self.request.readings:
            if reading.name in waiting:
                self._take_in(reading, waiting[reading.name], seen)

    def end(self, answer: Answer) -> None:
        """Take in what the network itself makes of the batch."""
        if self.counts_mistakes:
            self.count_mistakes(self.seen, answer)
        if self.bank is not None:
            if self.groups is not None:
                self.bank.put("groups", self.groups)
            for target, labels in self.labels.items():
                self.bank.put(f"labels of {target}", labels)
                predicted, _ = answer.of_target(target)
                if predicted is not None:
                    self.bank.put(f"predictions of {target}", predicted)
        if self.names_of_wide:
            self.wide.seen.append(self.seen)
        if self.waiting.end(self.seen):
            self._take_in_waiting()

    def count_mistakes(self, seen: Sequence[dict[str, TargetView]], answer: Answer) -> None:
        """Count what the network itself gets wrong of what each measurement sees."""
        for mistakes, own in zip(self.mistakes, seen, strict=False):
            mistakes.update(own, answer, self.request)

    def _judge_network(self, result: SplitResult, mistakes: NetworkErrors, rows: Mapping[str, np.ndarray]) -> None:
        """Put what the network itself gets wrong into a result."""
        result.errors, result.squares = mistakes.errors(rows), mistakes.squares(rows)
        if self.request.apart:
            result.class_errors, result.mean_ious = mistakes.class_errors(rows), mistakes.mean_ious(rows)

    @property
    def samples(self) -> int:
        """Samples so far."""
        return self.tally.samples

    @property
    def finite(self) -> bool:
        """Whether all features so far were finite."""
        return self.gathered[0].finite and (self.request.nonfinite == "drop" or self.waiting.finite)

    def state(self) -> State:
        """What was accumulated so far, and what the bank holds."""
        return {
            "tally": state_of(self.tally),
            "mistakes": [state_of(mistakes) for mistakes in self.mistakes],
            "fingerprint": state_of(self.fingerprint),
            "views": self.views.state(),
            "vocabularies": {target: self.request.vocabularies[target].state() for target in self._of_classes},
            "gathered": [gathering.state() for gathering in self.gathered],
            "waiting": self.waiting.state(),
            "wide": map_tensors(self.wide.seen, lambda tensor: tensor.cpu()),
            "subsample": None if self.subsample is None else self.subsample.state(),
            "bank": None if self.bank is None else self.bank.save(),
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        restore(self.tally, state["tally"])
        for mistakes, held in zip(self.mistakes, state["mistakes"], strict=True):
            restore(mistakes, held)
        restore(self.fingerprint, state["fingerprint"])
        self.views.restore(state["views"])
        for target, held in state["vocabularies"].items():
            self.request.vocabularies[target].restore(held)
        for gathering, held in zip(self.gathered, state["gathered"], strict=True):
            gathering.restore(held)
        self.waiting.restore(state["waiting"], self.device)
        self.wide.seen = state["wide"]
        if self.subsample is not None:
            self.subsample.restore(state["subsample"])
        if self.bank is not None:
            self.bank.restore(state["bank"])

    @property
    def _of_classes(self) -> list[str]:
        return [target for target in self.request.targets if target in self.request.vocabularies]

    def merge(self, shared: bool, moved: Mapping[str, Tensor] | None = None) -> None:
        """Take in what the other processes accumulated, if the samples are shared.

        Parameters
        ----------
        shared : bool
        moved : mapping of str to Tensor, optional
            Where the rows of every target's classes have moved to, where they were settled already.
        """
        self._take_in_waiting()
        self.spans = self.wide.take_in(self.request.wide, self.gathered, shared)
        if self.subsample is not None:
            self.subsample.merge(shared)
        rows = settle(self.request.vocabularies, self._of_classes, shared) if moved is None else moved
        self.tally.move(rows)
        for mistakes in self.mistakes:
            mistakes.move(rows)
        for gathering in self.gathered:
            gathering.move(rows)
        self.tally = merge_across_processes(self.tally, SampleCounts, self.device, shared)
        self.mistakes = [
            merge_across_processes(mistakes, NetworkErrors, self.device, shared) for mistakes in self.mistakes
        ]
        self.fingerprint = merge_across_processes(self.fingerprint, DataFingerprint, self.device, shared)
        for gathering in self.gathered:
            gathering.merge(shared)

    def finish(self, train: SplitResult | None = None) -> SplitResult:
        """The finished statistics; what was accumulated is let go.

        Parameters
        ----------
        train : SplitResult, optional
            The split whose readout and units judge the regression targets; this one by default.
        """
        counted = self._counted()
        counted.judged_by_itself = train is None
        result = self.gathered[0].finish(counted, train or counted, self.spans)
        result.spans = self.spans
        result.compared = [] if self.subsample is None else [(self.request, self.subsample)]
        for number, part in enumerate(self.gathered[1 : 1 + self.request.jackknife]):
            own = counted.of_other_samples()
            self._judge_network(own, self.mistakes[1 + number], counted.rows)
            judge = own if train is None else train.without[number]
            own.missing_classes = judge.missing_classes | part.finish(own, judge, self.spans).lacks_classes_of(result)
            own.standardize(judge)
            result.without.append(own)
        for number, part in enumerate(self.gathered[1 + self.request.jackknife :]):
            own = counted.of_other_samples()
            own.totals = {
                key: held[kind]
                for key, held in result.evidence.items()
                for kind in ("covariance", "regression")
                if kind in held and not part.scatter
            }
            result.shuffled.append(part.finish(own, own if train is None else train.shuffled[number], self.spans))
        result.standardize(train or result)
        return result

    def _counted(self) -> SplitResult:
        """What is known of the split without any statistic of its features."""
        request, tally, mistakes = self.request, self.tally, self.mistakes[0]
        vocabularies = {target: request.vocabularies[target] for target in self._of_classes}
        result = SplitResult(
            samples=tally.samples,
            classes={target: len(own) for target, own in vocabularies.items()},
            ids={target: own.ids.numpy() for target, own in vocabularies.items()},
            counts={target: _filled(counts, len(vocabularies[target])) for target, counts in tally.classes.items()},
            earlier=self.earlier,
            scores=mistakes.scores,
            common=[target for target, own in mistakes.common.items() if own],
            left_out=tally.left_out,
            without_target=tally.without_target,
            fingerprint=str(self.fingerprint),
            label_fingerprint=self.fingerprint.of_labels,
        )
        match_classes(result, request)
        leave_contested([result])
        self._judge_network(result, mistakes, result.rows)
        return result


def _filled(counts: Tensor, classes: int) -> np.ndarray:
    """Counts of all classes, those of the last ones zero where they are not counted."""
    return np.pad(counts.numpy(), (0, classes - len(counts)))
