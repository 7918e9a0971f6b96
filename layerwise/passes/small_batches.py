"""Small batches of narrow features wait until there are enough of them to be worth a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from layerwise.features.reading import LayerReading
from layerwise.passes.memory import ENOUGH, LUMP, WIDEST_WAITING
from layerwise.passes.replicates import TargetView, joined
from layerwise.runtime.tensors import map_tensors
from layerwise.statistics import State

__all__ = ["SmallBatchBuffer", "chunks"]


class SmallBatchBuffer:
    """Keeps the narrow features of small batches until they are taken in together.

    Whether a batch waits depends on its size alone: features and labels of one batch wait together, or not at all.

    Attributes
    ----------
    samples : int
        That wait.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._size = 0
        self.features: dict[str, list[Tensor]] = {}
        self.seen: list[list[dict[str, TargetView]]] = []

    def begin(self, size: int) -> None:
        """Begin a batch of so many samples."""
        self._size = size

    def hold(self, reading: LayerReading, features: Tensor) -> bool:
        """Keep the features of one layer of the batch, shape ``(n, d)``, if they are worth it; return whether."""
        if reading.features > WIDEST_WAITING or self._size >= ENOUGH:
            return False
        # What the network does to its tensor afterwards is not to be seen here.
        self.features.setdefault(reading.name, []).append(features.clone())
        return True

    def end(self, seen: list[dict[str, TargetView]]) -> bool:
        """End the batch, of which so much is seen; return whether enough samples wait."""
        if self.features and self._size < ENOUGH:
            self.seen.append(seen)
            self.samples += self._size
        return self.samples >= ENOUGH

    @property
    def finite(self) -> bool:
        """Whether what waits of the last batch is finite."""
        sums = [batches[-1].sum(dtype=torch.float64).cpu() for batches in self.features.values()]
        return not sums or bool(torch.isfinite(torch.stack(sums)).all())

    def take(self) -> tuple[dict[str, Tensor], list[dict[str, TargetView]]]:
        """The features of all that wait, by layer, and what is seen of them; none wait afterwards."""
        features = {name: torch.cat(batches) for name, batches in self.features.items()}
        seen = joined(self.seen)
        self.samples, self.features, self.seen = 0, {}, []
        return features, seen

    def state(self) -> State:
        """What waits."""
        held = {"samples": self.samples, "features": self.features, "seen": self.seen}
        return dict(map_tensors(held, lambda tensor: tensor.cpu()))

    def restore(self, state: State, device: torch.device) -> None:
        """Go on from a state."""
        held = map_tensors(state, lambda tensor: tensor.to(device))
        self.samples, self.features, self.seen = held["samples"], held["features"], held["seen"]


def chunks(sizes: Sequence[int], width: int) -> Iterator[slice]:
    """Batches of so many samples cut into a few that are read at once, of so many features a sample."""
    start, rows = 0, 0
    for number, size in enumerate(sizes):
        if rows and (rows + size) * width > LUMP:
            yield slice(start, number)
            start, rows = number, 0
        rows += size
    if rows:
        yield slice(start, len(sizes))
