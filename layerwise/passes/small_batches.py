"""Small batches of narrow features wait until there are enough of them to be worth a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from layerwise.features.reading import LayerReading
from layerwise.passes.memory import CHUNK, ENOUGH, WIDEST_WAITING
from layerwise.passes.replicates import Replicates
from layerwise.passes.target_views import TargetViews, joined_replicates
from layerwise.runtime.tensors import map_tensors
from layerwise.statistics import State

__all__ = ["SmallBatchBuffer", "chunks"]


class SmallBatchBuffer:
    """Keeps the narrow features of small batches until they are taken in together.

    Whether a batch waits depends on its size alone: its features and its labels wait together, or not at all.

    Attributes
    ----------
    samples : int
        The samples that wait.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._size = 0
        self.features: dict[str, list[Tensor]] = {}
        self.views: list[Replicates[TargetViews]] = []

    def begin(self, size: int) -> None:
        """Begin a batch of `size` samples."""
        self._size = size

    def hold(self, reading: LayerReading, features: Tensor) -> bool:
        """Keep the features of one layer of the batch, shape ``(n, d)``, if that pays; return whether."""
        if reading.features > WIDEST_WAITING or self._size >= ENOUGH:
            return False
        # The network may change its tensor afterwards.
        self.features.setdefault(reading.name, []).append(features.clone())
        return True

    def end(self, views: Replicates[TargetViews]) -> bool:
        """End the batch, whose labels have these views; return whether enough samples wait."""
        if self.features and self._size < ENOUGH:
            self.views.append(views)
            self.samples += self._size
        return self.samples >= ENOUGH

    @property
    def finite(self) -> bool:
        """Whether the waiting features of the last batch are finite."""
        sums = [batches[-1].sum(dtype=torch.float64).cpu() for batches in self.features.values()]
        return not sums or bool(torch.isfinite(torch.stack(sums)).all())

    def take(self) -> tuple[dict[str, Tensor], Replicates[TargetViews]]:
        """Return all waiting features, by layer, and their views; none wait afterwards."""
        features = {name: torch.cat(batches) for name, batches in self.features.items()}
        views = joined_replicates(self.views)
        self.samples, self.features, self.views = 0, {}, []
        return features, views

    def state(self) -> State:
        """Return what waits."""
        views = [batch.lists() for batch in self.views]
        waiting = {"samples": self.samples, "features": self.features, "views": views}
        return dict(map_tensors(waiting, lambda tensor: tensor.cpu()))

    def restore(self, state: State, device: torch.device) -> None:
        """Go on from a state."""
        waiting = map_tensors(state, lambda tensor: tensor.to(device))
        self.samples, self.features = waiting["samples"], waiting["features"]
        self.views = [Replicates(**batch) for batch in waiting["views"]]


def chunks(sizes: Sequence[int], width: int) -> Iterator[slice]:
    """Cut batches of these sizes, of `width` features a sample, into chunks that are read at once."""
    start, rows = 0, 0
    for number, size in enumerate(sizes):
        if rows and (rows + size) * width > CHUNK:
            yield slice(start, number)
            start, rows = number, 0
        rows += size
    if rows:
        yield slice(start, len(sizes))
