"""Pass 1 over tokens or pixels: one for each target and resolution, in the same forwards."""

from __future__ import annotations

import numpy as np
import torch

from layerwise.adapters.protocol import Batch
from layerwise.data.fingerprint import DataFingerprint
from layerwise.errors import EmptyData
from layerwise.network.answer import Answer
from layerwise.passes.feature_cache import CacheSection, FeatureCache
from layerwise.passes.first import FirstPass
from layerwise.passes.label_replicates import LabelReplicates
from layerwise.passes.matching import leave_contested
from layerwise.passes.positions.prepare import PreparedPositions
from layerwise.passes.positions.second import PositionsSecondPass
from layerwise.passes.positions.shuffles import PositionShuffles
from layerwise.passes.positions.stream_passes import StreamPasses
from layerwise.passes.positions.streams import Stream
from layerwise.passes.positions.subsample import Draw
from layerwise.passes.replicate_views import without_each_group
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult, side_by_side
from layerwise.passes.target_views import TargetViews
from layerwise.passes.vocabulary import settle
from layerwise.runtime.distributed import all_gather
from layerwise.statistics.merging import merge_across_processes

__all__ = ["PositionsFirstPass"]


class PositionsFirstPass(StreamPasses):
    """Pass 1 over tokens or pixels; used as `FirstPass` is."""

    def __init__(
        self,
        request: PassRequest,
        feature_cache: FeatureCache | None,
        device: torch.device,
        prepared: PreparedPositions,
    ) -> None:
        super().__init__(request, prepared)
        shuffles: list[PositionShuffles | None] = list(prepared.shuffles)
        shuffles = shuffles or [None] * len(self.streams)
        self.passes: list[FirstPass] = [
            FirstPass(
                stream.request,
                None if feature_cache is None else CacheSection(feature_cache, stream.name),
                device,
                LabelReplicates(shuffles=own),
            )
            for stream, own in zip(self.streams, shuffles, strict=True)
        ]
        for own_pass, draw in zip(self.passes, self.draws, strict=True):
            own_pass.counts_network_errors = draw is None
        self._batch: Batch | None = None
        self.device = device
        self.results: list[SplitResult] = []

    def begin(self, batch: Batch, number: int) -> None:
        """Take what comes with the features of a batch."""
        self._batch = batch
        self.fingerprint.update(batch.inputs, batch.labels)
        self._select(batch)
        for stream in self._occupied():
            own_pass = self.passes[stream]
            selected = self.selected[stream].batch
            own_pass.label(selected, number, self._groups_of(self.selected[stream]))
            if own_pass.subsample is not None:
                own_pass.subsample.begin(selected.labels, selected.size)

    def end(self, answer: Answer) -> None:
        """Take in the network's own answer to the batch: to all positions, including those that are not drawn."""
        super().end(answer)
        for stream, own_pass in zip(self.streams, self.passes, strict=True):
            if not own_pass.counts_network_errors and self._batch is not None:
                self._count_network_errors(stream, own_pass, self._batch, answer)

    def _count_network_errors(self, stream: Stream, own_pass: FirstPass, batch: Batch, answer: Answer) -> None:
        selected = stream.select(batch)
        if not selected.batch.size:
            return
        rows = self.request.vocabularies[stream.target].encode(selected.batch.labels[stream.target])
        groups = self._groups_of(selected)
        views: TargetViews = {stream.target: (rows, None)}
        dealt = {} if groups is None else {stream.target: groups}
        without = without_each_group(views, dealt, self.request.settings.jackknife if dealt else 0)
        own_pass.count_network_errors(Replicates(views, without), selected.answer(answer))

    @property
    def finite(self) -> bool:
        """Whether all features so far were finite."""
        return all(own_pass.finite for own_pass in self.passes)

    def merge(self, shared: bool) -> None:
        """Take in what the other processes accumulated, if the samples are shared."""
        self.samples = sum(all_gather(self.samples, shared))
        self.fingerprint = merge_across_processes(self.fingerprint, DataFingerprint, self.device, shared)
        with_classes = [target for target in self.request.targets if target in self.request.vocabularies]
        moved = settle(self.request.vocabularies, with_classes, shared)
        for stream, own_pass in zip(self.streams, self.passes, strict=True):
            own_pass.merge(shared, {target: rows for target, rows in moved.items() if target == stream.target})

    def finish(self, train: SplitResult | None = None) -> SplitResult:
        """Return the finished statistics of all streams.

        Raises
        ------
        EmptyData
            If one has no sample.
        """
        for stream, own_pass in zip(self.streams, self.passes, strict=True):
            if not own_pass.samples:
                raise EmptyData(f"there is nothing to measure of {stream.name!r}: all its labels are ignored")
        self.results = [own_pass.finish(train) for own_pass in self.passes]
        leave_contested(self.results)
        for stream, result, draw in zip(self.streams, self.results, self.draws, strict=True):
            result.positions = {stream.name: result.samples}
            result.samples, result.fingerprint = self.samples, str(self.fingerprint)
            result.label_fingerprint = self.fingerprint.of_labels
            result.order = "" if self.prepared.places is None else self.prepared.places.order
            if draw is not None:
                _put_sizes(result, stream, draw)
        return side_by_side(self.results)

    def second(self, _: SplitResult, train: SplitResult | None, *, shared: bool) -> PositionsSecondPass:
        """Return the second pass over the same split."""
        passes = [
            own_pass.second(result, train, shared=shared)
            for own_pass, result in zip(self.passes, self.results, strict=True)
        ]
        return PositionsSecondPass(self.request, self.prepared, passes, self.results)


def _put_sizes(result: SplitResult, stream: Stream, draw: Draw) -> None:
    """Put the samples of every class, drawn or not, into a stream's result."""
    counts = dict(zip(draw.ids.tolist(), draw.counts.tolist(), strict=True))
    sizes = np.array([counts.get(label, 0) for label in result.ids[stream.target].tolist()], dtype=float)
    for part in result.replicates:
        part.sizes = {(stream.target, reading.name): sizes for reading in stream.request.readings}
