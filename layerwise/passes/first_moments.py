"""The moments of pass 1 of all measurements: features go in batch by batch, or several small batches at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from layerwise.features.reading import LayerReading
from layerwise.features.sketch import Sketch
from layerwise.passes.checks import finite_rows
from layerwise.passes.first_accumulator import FirstAccumulator
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.sample_counts import SampleCounts
from layerwise.passes.small_batches import SmallBatchBuffer
from layerwise.passes.target_views import TargetViews
from layerwise.statistics import State

__all__ = ["FirstMoments"]


class FirstMoments:
    """Accumulates the moments of every layer, as every measurement sees its samples.

    Parameters
    ----------
    request : PassRequest
    sketches : mapping of str to Sketch or None
        The projection that each layer's covariance is taken of.
    counts : SampleCounts
        Counts the samples that are left out of a layer.
    device : device
        Where what has no sample yet is accumulated.
    """

    def __init__(
        self,
        request: PassRequest,
        sketches: Mapping[str, Sketch | None],
        counts: SampleCounts,
        device: torch.device,
    ) -> None:
        self.request = request
        self.sketches = sketches
        self.counts = counts
        self.device = device
        # Under shuffled labels the covariance is that of the whole, if every sample counts there.
        scatter = Replicates(
            True, [True] * request.settings.jackknife, [request.settings.reduce == "pixels"] * request.settings.null
        )
        self.accumulators = scatter.map(lambda keeps: FirstAccumulator(request, sketches, device, scatter=keeps))
        self.waiting = SmallBatchBuffer()

    def begin(self, size: int) -> None:
        """Begin a batch of `size` samples."""
        self.waiting.begin(size)

    def receive(self, reading: LayerReading, features: Tensor, views: Replicates[TargetViews]) -> None:
        """Take in the features of one layer of the batch, shape ``(n, d)``, now or with later ones."""
        if not self.waiting.hold(reading, features):
            self._update(reading, features, views)

    def end(self, views: Replicates[TargetViews]) -> None:
        """End the batch."""
        if self.waiting.end(views):
            self.flush()

    def flush(self) -> None:
        """Take in the features that wait."""
        waiting, views = self.waiting.take()
        for reading in self.request.readings:
            if reading.name in waiting:
                self._update(reading, waiting[reading.name], views)

    @property
    def finite(self) -> bool:
        """Whether all features so far were finite."""
        return self.accumulators.whole.finite and (self.request.settings.nonfinite == "drop" or self.waiting.finite)

    def merge(self, rows: Mapping[str, Tensor], shared: bool) -> None:
        """Move every class to its row, and take in what the other processes accumulated."""
        for accumulator in self.accumulators:
            accumulator.move(rows)
        for accumulator in self.accumulators:
            accumulator.merge(shared)

    def state(self) -> State:
        """Return what was accumulated so far."""
        return {
            "accumulators": [accumulator.state() for accumulator in self.accumulators],
            "waiting": self.waiting.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        for accumulator, own in zip(self.accumulators, state["accumulators"], strict=True):
            accumulator.restore(own)
        self.waiting.restore(state["waiting"], self.device)

    def _update(self, reading: LayerReading, features: Tensor, views: Replicates[TargetViews]) -> None:
        kept = finite_rows(features, self.request.settings.nonfinite)
        if kept is not None:
            self.counts.leave_out(reading.name, int((~kept).sum()))
        sketch = self.sketches[reading.name]
        narrow = sketch(features) if sketch is not None else None
        for accumulator, view in zip(self.accumulators, views, strict=True):
            accumulator.update(reading, features, narrow, kept, view)
