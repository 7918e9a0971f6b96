"""The passes over tokens or pixels: one for each target and resolution, side by side in the same forwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.data.fingerprint import DataFingerprint
from layerwise.errors import EmptyData
from layerwise.features.reading import LayerReading
from layerwise.network.answer import Answer
from layerwise.passes.feature_cache import CacheSection, FeatureCache
from layerwise.passes.first import FirstPass
from layerwise.passes.label_replicates import LabelReplicates, Places
from layerwise.passes.matching import leave_contested
from layerwise.passes.positions.shuffles import PositionShuffles
from layerwise.passes.positions.streams import Selected, Stream, streams_of
from layerwise.passes.positions.subsample import Draw
from layerwise.passes.replicate_views import without_each_group
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult, side_by_side
from layerwise.passes.second import SecondPass
from layerwise.passes.target_views import TargetViews
from layerwise.passes.vocabulary import settle
from layerwise.runtime.distributed import all_gather, of_lower_ranks
from layerwise.statistics import State, restore, state_of
from layerwise.statistics.merging import merge_across_processes

__all__ = ["PositionsFirstPass", "PositionsSecondPass", "draws"]


def draws(request: PassRequest, batches: Iterable[Batch], shared: bool) -> list[Draw | None]:
    """What draws the samples of each stream, made from one look at all labels; None where all samples count.

    Parameters
    ----------
    request : Request
    batches : iterable of Batch
        The data that this process has.
    shared : bool
        Whether other processes have other data.
    """
    streams = streams_of(request)
    if request.samples_per_class is None:
        return [None] * len(streams)
    counts: list[dict[int, int]] = [{} for _ in streams]
    for batch in batches:
        for own, stream in zip(counts, streams, strict=True):
            _add(own, stream.select(batch).batch.labels[stream.target])
    made: list[Draw | None] = []
    for own in counts:
        every = all_gather(own, shared)
        ids = sorted({label for part in every for label in part})
        whole, before = (_sum(parts, ids) for parts in (every, of_lower_ranks(every)))
        made.append(Draw(request.samples_per_class, request.seed, whole, before, torch.tensor(ids, dtype=torch.int64)))
    return made


class _Apart:
    """What both passes have in common: streams, each with a pass of its own, and what of the batch at hand it takes."""

    passes: Sequence[FirstPass | SecondPass]

    def __init__(self, request: PassRequest, drawn: Sequence[Draw | None], places: Places | None) -> None:
        self.request = request
        self.places = places
        self.streams: list[Stream] = streams_of(request)
        self.drawn = [None if draw is None else draw.again() for draw in drawn]
        self.samples = 0
        self._size = 0
        self.selected: list[Selected] = []
        self._names = [{reading.name for reading in stream.request.readings} for stream in self.streams]

    def receive(self, reading: LayerReading, apart: Tensor) -> None:
        """Take in the features of one layer, of every token or pixel."""
        for stream in self._taking():
            if reading.name in self._names[stream]:
                self.passes[stream].receive(reading, self.selected[stream].features(reading, apart))

    def end(self, answer: Answer) -> None:
        """Take in what the network itself makes of the batch."""
        for stream in self._taking():
            self.passes[stream].end(self.selected[stream].answer(answer))

    def _select(self, batch: Batch) -> None:
        self.samples += batch.size
        self._size = batch.size
        pairs = zip(self.streams, self.drawn, strict=True)
        self.selected = [stream.select(batch, draw) for stream, draw in pairs]

    def _groups_of(self, selected: Selected) -> Tensor | None:
        """The group of every position of the batch: that of its text or picture, which are dealt out in turn."""
        if not self.request.jackknife:
            return None
        first = self.samples - self._size
        numbers = first + selected.where[0].cpu()
        return (numbers if self.places is None else self.places.own[numbers]) % self.request.jackknife

    def _taking(self) -> list[int]:
        """The streams that have a sample in the batch."""
        return [number for number, selected in enumerate(self.selected) if selected.batch.size]

    def _state(self) -> State:
        seen = [None if draw is None else draw.before for draw in self.drawn]
        return {"samples": self.samples, "drawn": seen}

    def _restore(self, state: State) -> None:
        self.samples = state["samples"]
        for draw, before in zip(self.drawn, state["drawn"], strict=True):
            if draw is not None:
                draw.before = before


class PositionsFirstPass(_Apart):
    """Pass 1 over tokens or pixels; to be used as `FirstPass`."""

    def __init__(
        self,
        request: PassRequest,
        bank: FeatureCache | None,
        device: torch.device,
        drawn: Sequence[Draw | None],
        places: Places | None = None,
        shuffles: Sequence[PositionShuffles] = (),
    ) -> None:
        super().__init__(request, drawn, places)
        self.beforehand = [LabelReplicates(shuffles=own) for own in shuffles] or [
            LabelReplicates() for _ in self.streams
        ]
        self.passes: list[FirstPass] = [
            FirstPass(stream.request, None if bank is None else CacheSection(bank, stream.name), device, known)
            for stream, known in zip(self.streams, self.beforehand, strict=True)
        ]
        for own, draw in zip(self.passes, drawn, strict=True):
            own.counts_network_errors = draw is None
        self._batch: Batch | None = None
        self.device = device
        self.fingerprint = DataFingerprint()
        self.results: list[SplitResult] = []

    def end(self, answer: Answer) -> None:
        """Take in what the network itself makes of the batch: of all positions, those that are not drawn too."""
        super().end(answer)
        for stream, own in zip(self.streams, self.passes, strict=True):
            if own.counts_network_errors or self._batch is None:
                continue
            selected = stream.select(self._batch)
            if not selected.batch.size:
                continue
            rows = self.request.vocabularies[stream.target].encode(selected.batch.labels[stream.target])
            groups = self._groups_of(selected)
            view: TargetViews = {stream.target: (rows, None)}
            without = (
                [] if groups is None else without_each_group(view, {stream.target: groups}, self.request.jackknife)
            )
            own.count_network_errors(Replicates(view, without), selected.answer(answer))

    def begin(self, batch: Batch, number: int) -> None:
        """Look at what comes with the features of a batch."""
        self._batch = batch
        self.fingerprint.update(batch.inputs, batch.labels)
        self._select(batch)
        for stream in self._taking():
            own = self.passes[stream]
            selected = self.selected[stream].batch
            own.label(selected, number, self._groups_of(self.selected[stream]))
            if own.subsample is not None:
                own.subsample.begin(selected.labels, selected.size)

    @property
    def finite(self) -> bool:
        """Whether all features so far were finite."""
        return all(own.finite for own in self.passes)

    def state(self) -> State:
        """What was accumulated so far, and what the bank holds."""
        return {
            **self._state(),
            "fingerprint": state_of(self.fingerprint),
            "passes": [own.state() for own in self.passes],
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._restore(state)
        restore(self.fingerprint, state["fingerprint"])
        for own, held in zip(self.passes, state["passes"], strict=True):
            own.restore(held)

    def merge(self, shared: bool) -> None:
        """Take in what the other processes accumulated, if the samples are shared."""
        self.samples = sum(all_gather(self.samples, shared))
        self.fingerprint = merge_across_processes(self.fingerprint, DataFingerprint, self.device, shared)
        of_classes = [target for target in self.request.targets if target in self.request.vocabularies]
        moved = settle(self.request.vocabularies, of_classes, shared)
        for stream, own in zip(self.streams, self.passes, strict=True):
            own.merge(shared, {target: rows for target, rows in moved.items() if target == stream.target})

    def finish(self, train: SplitResult | None = None) -> SplitResult:
        """The finished statistics of all streams.

        Raises
        ------
        EmptyData
            If one has no sample.
        """
        for stream, own in zip(self.streams, self.passes, strict=True):
            if not own.samples:
                raise EmptyData(f"there is nothing to measure of {stream.name!r}: all its labels are ignored")
        self.results = [own.finish(train) for own in self.passes]
        leave_contested(self.results)
        for stream, result in zip(self.streams, self.results, strict=True):
            result.positions = {stream.name: result.samples}
            result.samples, result.fingerprint = self.samples, str(self.fingerprint)
            result.label_fingerprint = self.fingerprint.of_labels
        for stream, result, draw in zip(self.streams, self.results, self.drawn, strict=True):
            if draw is not None:
                counted = dict(zip(draw.ids.tolist(), draw.counts.tolist(), strict=True))
                sizes = np.array([counted.get(label, 0) for label in result.ids[stream.target].tolist()], dtype=float)
                for part in [result, *result.without, *result.shuffled]:
                    part.sizes = {(stream.target, reading.name): sizes for reading in stream.request.readings}
        return side_by_side(self.results)


class PositionsSecondPass(_Apart):
    """Pass 2 over tokens or pixels; to be used as `SecondPass`."""

    def __init__(
        self, first: PositionsFirstPass, train: SplitResult | None, drawn: Sequence[Draw | None], *, shared: bool
    ) -> None:
        super().__init__(first.request, drawn, first.places)
        self.results = first.results
        self.passes: list[SecondPass] = [
            SecondPass(stream.request, result, train or result, first.device, shared=shared, beforehand=known)
            for stream, result, known in zip(self.streams, self.results, first.beforehand, strict=True)
        ]
        self.fingerprint = DataFingerprint()

    def begin(self, batch: Batch) -> None:
        """Look at what comes with the features of a second run."""
        if self.request.ordered:
            self.fingerprint.update(batch.inputs, batch.labels)
        self._select(batch)
        for stream in self._taking():
            self.passes[stream].begin(self.selected[stream].batch, self._groups_of(self.selected[stream]))

    def read(self, bank: FeatureCache, readings: Iterable[LayerReading]) -> None:
        """Take the features from the bank, one layer after the other."""
        for reading in readings:
            for stream, own, names in zip(self.streams, self.passes, self._names, strict=True):
                if reading.name in names:
                    own.read(CacheSection(bank, stream.name), [reading])

    def state(self) -> State:
        """What was accumulated so far."""
        return {
            **self._state(),
            "fingerprint": state_of(self.fingerprint),
            "passes": [own.state() for own in self.passes],
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._restore(state)
        restore(self.fingerprint, state["fingerprint"])
        for own, held in zip(self.passes, state["passes"], strict=True):
            own.restore(held)

    def finish(self, reading: LayerReading) -> None:
        """Put what was accumulated of one layer into the evidence."""
        for own, names in zip(self.passes, self._names, strict=True):
            if reading.name in names:
                own.finish(reading)

    @property
    def result(self) -> SplitResult:
        """What all streams gave."""
        return side_by_side(self.results)


def _add(counts: dict[int, int], labels: Tensor) -> None:
    """Count the samples of every class of a batch."""
    present, more = labels.unique(return_counts=True)
    for label, count in zip(present.tolist(), more.tolist(), strict=True):
        counts[label] = counts.get(label, 0) + count


def _sum(counts: Sequence[Mapping[int, int]], ids: Sequence[int]) -> Tensor:
    """Samples of every class in all parts together, shape ``(C,)``."""
    return torch.tensor([sum(own.get(label, 0) for own in counts) for label in ids], dtype=torch.int64)
