"""Pass 1: moments of every target and layer, and the features into the feature cache."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.data.fingerprint import DataFingerprint
from layerwise.features.reading import LayerReading
from layerwise.network.answer import Answer
from layerwise.passes.batch_labels import BatchLabels
from layerwise.passes.feature_cache import CacheSection, FeatureCache
from layerwise.passes.first_moments import FirstMoments
from layerwise.passes.first_result import count_split, finish_first_pass
from layerwise.passes.hashed_subsample import Subsample
from layerwise.passes.label_replicates import LabelReplicates
from layerwise.passes.network_errors import NetworkErrors
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult
from layerwise.passes.sample_counts import SampleCounts
from layerwise.passes.second import SecondPass
from layerwise.passes.spans import Span
from layerwise.passes.target_views import TargetViews
from layerwise.passes.wide import WideLayers
from layerwise.statistics import State, restore, state_of
from layerwise.statistics.merging import merge_across_processes

__all__ = ["FirstPass"]


class FirstPass:
    """Accumulates pass 1 of one split, batch by batch: `begin`, `receive` for every layer, `end`; then `finish`."""

    def __init__(
        self,
        request: PassRequest,
        feature_cache: FeatureCache | CacheSection | None,
        device: torch.device,
        beforehand: LabelReplicates | None = None,
    ) -> None:
        self.request = request
        self.feature_cache = feature_cache
        self.device = device
        self.beforehand = beforehand or LabelReplicates()
        counts = SampleCounts()
        self.labels = BatchLabels(request, counts, self.beforehand)
        sketches = {reading.name: request.narrowing(reading) for reading in request.readings}
        self._projected = {name for name, sketch in sketches.items() if sketch is not None}
        self.moments = FirstMoments(request, sketches, counts, device)
        self.network_errors = Replicates(NetworkErrors(), [NetworkErrors() for _ in range(request.settings.jackknife)])
        self.fingerprint = DataFingerprint()
        self.wide = WideLayers(request.wide, feature_cache, request.settings.nonfinite, request.plan.samples)
        self.subsample = Subsample(request.plan.compared) if self._projected else None
        self.spans: dict[str, Span] = {}
        # False where positions are drawn: the network is judged by all.
        self.counts_network_errors = True

    def begin(self, batch: Batch, number: int) -> None:
        """Take what comes with the features of a batch."""
        self.label(batch, number)
        hashes = self.fingerprint.update(batch.inputs, batch.labels)
        if self.subsample is not None:
            self.subsample.begin(batch.labels, batch.size, hashes)

    def label(self, batch: Batch, number: int, groups: Tensor | None = None) -> None:
        """Take the labels of a batch; `groups` of its samples where they are known."""
        self.labels.take(batch, number, groups)
        self.moments.begin(batch.size)

    def receive(self, reading: LayerReading, features: Tensor) -> None:
        """Take in the features of one layer, shape ``(n, d)``."""
        waits = self.request.plan.keeps_features or reading.name in self.wide.names
        if self.feature_cache is not None and waits:
            self.feature_cache.put(reading.name, features)
        if self.subsample is not None and reading.name in self._projected:
            self.subsample.receive(reading.name, features)
        self.moments.receive(reading, features, self.labels.views)

    def end(self, answer: Answer) -> None:
        """Take in the network's own answer to the batch."""
        if self.counts_network_errors:
            self.count_network_errors(self.labels.views.unshuffled, answer)
        if self.feature_cache is not None:
            self._keep_labels(self.feature_cache, answer)
        self.wide.end(self.labels.views)
        self.moments.end(self.labels.views)

    def _keep_labels(self, feature_cache: FeatureCache | CacheSection, answer: Answer) -> None:
        """Put what pass 2 needs beside the features into the cache."""
        if self.labels.groups is not None:
            feature_cache.put("groups", self.labels.groups)
        for target, labels in self.labels.labels.items():
            feature_cache.put(f"labels of {target}", labels)
            predicted, _ = answer.of_target(target)
            if predicted is not None:
                feature_cache.put(f"predictions of {target}", predicted)

    def count_network_errors(self, views: Replicates[TargetViews], answer: Answer) -> None:
        """Count the network's own errors in what each measurement sees under the labels as they are."""
        for errors, view in zip(self.network_errors, views, strict=True):
            errors.update(view, answer, self.request)

    @property
    def samples(self) -> int:
        """Samples so far."""
        return self.labels.counts.samples

    @property
    def finite(self) -> bool:
        """Whether all features so far were finite."""
        return self.moments.finite

    def state(self) -> State:
        """Return what was accumulated so far, and what the feature cache holds."""
        return {
            "labels": self.labels.state(),
            "moments": self.moments.state(),
            "network_errors": [state_of(errors) for errors in self.network_errors],
            "fingerprint": state_of(self.fingerprint),
            "wide": self.wide.state(),
            "subsample": None if self.subsample is None else self.subsample.state(),
            "feature_cache": None if self.feature_cache is None else self.feature_cache.save(),
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.labels.restore(state["labels"])
        self.moments.restore(state["moments"])
        for errors, own in zip(self.network_errors, state["network_errors"], strict=True):
            restore(errors, own)
        restore(self.fingerprint, state["fingerprint"])
        self.wide.restore(state["wide"])
        if self.subsample is not None:
            self.subsample.restore(state["subsample"])
        if self.feature_cache is not None:
            self.feature_cache.restore(state["feature_cache"])

    def merge(self, shared: bool, moved: Mapping[str, Tensor] | None = None) -> None:
        """Take in what the other processes accumulated, if the samples are shared.

        Parameters
        ----------
        shared : bool
        moved : mapping of str to Tensor, optional
            Where the rows of every target's classes have moved to, if they are settled.
        """
        self.moments.flush()
        self.spans = self.wide.take_in(self.moments.accumulators, shared)
        if self.subsample is not None:
            self.subsample.merge(shared)
        rows = self.labels.settle(shared) if moved is None else moved
        for errors in self.network_errors:
            errors.move(rows)
        self.labels.merge(rows, self.device, shared)
        self.network_errors = self.network_errors.map(
            lambda errors: merge_across_processes(errors, NetworkErrors, self.device, shared)
        )
        self.fingerprint = merge_across_processes(self.fingerprint, DataFingerprint, self.device, shared)
        self.moments.merge(rows, shared)

    def finish(self, train: SplitResult | None = None) -> SplitResult:
        """Return the finished statistics; the accumulators are emptied.

        Parameters
        ----------
        train : SplitResult, optional
            The split whose readout and units judge the regression targets; this one by default.
        """
        counted = count_split(self.request, self.labels, self.network_errors.whole, self.fingerprint)
        result = finish_first_pass(
            counted, self.moments.accumulators, self.network_errors, self.spans, self.request, train
        )
        result.compared = [] if self.subsample is None else [(self.request, self.subsample)]
        return result

    def second(self, result: SplitResult, train: SplitResult | None, *, shared: bool) -> SecondPass:
        """Return the second pass over the same split, whose first pass has this result."""
        return SecondPass(self.request, result, train or result, self.device, shared=shared, beforehand=self.beforehand)
