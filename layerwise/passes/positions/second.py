"""Pass 2 over tokens or pixels: one for each target and resolution, in the same forwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from layerwise.adapters.protocol import Batch
from layerwise.features.reading import LayerReading
from layerwise.passes.feature_cache import CacheSection, FeatureCache
from layerwise.passes.positions.prepare import PreparedPositions
from layerwise.passes.positions.stream_passes import StreamPasses
from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult, side_by_side
from layerwise.passes.second import SecondPass

__all__ = ["PositionsSecondPass"]


class PositionsSecondPass(StreamPasses):
    """Pass 2 over tokens or pixels; used as `SecondPass` is.

    Parameters
    ----------
    request : PassRequest
    prepared : PreparedPositions
    passes : sequence of SecondPass
        That of each stream.
    results : sequence of SplitResult
        The result of each stream, whose evidence the passes extend.
    """

    def __init__(
        self,
        request: PassRequest,
        prepared: PreparedPositions,
        passes: Sequence[SecondPass],
        results: Sequence[SplitResult],
    ) -> None:
        super().__init__(request, prepared)
        self.results = results
        self.passes: list[SecondPass] = list(passes)

    def begin(self, batch: Batch) -> None:
        """Take what comes with the features of a batch."""
        if self.request.ordered:
            self.fingerprint.update(batch.inputs, batch.labels)
        self._select(batch)
        for stream in self._occupied():
            self.passes[stream].begin(self.selected[stream].batch, self._groups_of(self.selected[stream]))

    def read(self, feature_cache: FeatureCache, readings: Iterable[LayerReading]) -> None:
        """Take the features from the feature cache, one layer after the other."""
        for reading in readings:
            for stream, own_pass, names in zip(self.streams, self.passes, self._names, strict=True):
                if reading.name in names:
                    own_pass.read(CacheSection(feature_cache, stream.name), [reading])

    def finish(self, reading: LayerReading) -> None:
        """Put what was accumulated of one layer into the evidence."""
        for own_pass, names in zip(self.passes, self._names, strict=True):
            if reading.name in names:
                own_pass.finish(reading)

    @property
    def result(self) -> SplitResult:
        """The results of all streams as one."""
        return side_by_side(self.results)
