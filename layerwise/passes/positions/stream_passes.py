"""What both passes over tokens or pixels share: streams, each with a pass of its own, in the same forwards."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.data.fingerprint import DataFingerprint
from layerwise.features.reading import LayerReading
from layerwise.network.answer import Answer
from layerwise.passes.first import FirstPass
from layerwise.passes.positions.prepare import PreparedPositions
from layerwise.passes.positions.streams import Selected, Stream, streams_of
from layerwise.passes.request import PassRequest
from layerwise.passes.second import SecondPass
from layerwise.statistics import State, restore, state_of

__all__ = ["StreamPasses"]


class StreamPasses:
    """Passes over the streams of a split: each takes in its own samples of every batch.

    Parameters
    ----------
    request : PassRequest
    prepared : PreparedPositions
    """

    passes: Sequence[FirstPass | SecondPass]

    def __init__(self, request: PassRequest, prepared: PreparedPositions) -> None:
        self.request = request
        self.prepared = prepared
        self.streams: list[Stream] = streams_of(request)
        self.draws = [None if draw is None else draw.again() for draw in prepared.draws]
        self.fingerprint = DataFingerprint()
        self.samples = 0
        self._size = 0
        self.selected: list[Selected] = []
        self._names = [{reading.name for reading in stream.request.readings} for stream in self.streams]

    def receive(self, reading: LayerReading, features: Tensor) -> None:
        """Take in the features of one layer, of every token or pixel of the batch."""
        for stream in self._occupied():
            if reading.name in self._names[stream]:
                self.passes[stream].receive(reading, self.selected[stream].features(reading, features))

    def end(self, answer: Answer) -> None:
        """Take in the network's own answer to the batch."""
        for stream in self._occupied():
            self.passes[stream].end(self.selected[stream].answer(answer))

    def state(self) -> State:
        """Return what was accumulated so far."""
        return {
            "samples": self.samples,
            "drawn": [None if draw is None else draw.before for draw in self.draws],
            "fingerprint": state_of(self.fingerprint),
            "passes": [own.state() for own in self.passes],
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.samples = state["samples"]
        for draw, before in zip(self.draws, state["drawn"], strict=True):
            if draw is not None:
                draw.before = before
        restore(self.fingerprint, state["fingerprint"])
        for own, saved in zip(self.passes, state["passes"], strict=True):
            own.restore(saved)

    def _select(self, batch: Batch) -> None:
        """Find the samples of every stream in a batch."""
        self.samples += batch.size
        self._size = batch.size
        pairs = zip(self.streams, self.draws, strict=True)
        self.selected = [stream.select(batch, draw) for stream, draw in pairs]

    def _groups_of(self, selected: Selected) -> Tensor | None:
        """The group of every position of the batch: that of its text or picture, which are dealt out in turn."""
        if not self.request.settings.jackknife:
            return None
        places = self.prepared.places
        numbers = self.samples - self._size + selected.where[0].cpu()
        return (numbers if places is None else places.own[numbers]) % self.request.settings.jackknife

    def _occupied(self) -> list[int]:
        """The streams that have a sample in the batch."""
        return [number for number, selected in enumerate(self.selected) if selected.batch.size]
