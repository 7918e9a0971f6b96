"""Layers too wide for a covariance of their own, where samples are few: measured exactly once all samples are there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from layerwise.bank import Bank, Shelf
from layerwise.errors import BudgetExceeded
from layerwise.network import Reading
from layerwise.passes.checks import finite_rows
from layerwise.passes.gathering import Gathering
from layerwise.passes.spans import Span
from layerwise.passes.views import Seen, joined
from layerwise.shares import earlier, gathered
from layerwise.statistics.isometry import isometry_of

__all__ = ["WideLayers"]


class WideLayers:
    """Keeps what is seen of each batch until the features of all of them are there.

    Attributes
    ----------
    seen : list
        What every measurement sees of each batch.
    """

    def __init__(self, bank: Bank | Shelf | None, nonfinite: str, most: int | None = None) -> None:
        self.bank = bank
        self.most = most
        self.nonfinite = nonfinite
        self.seen: list[list[dict[str, Seen]]] = []

    def take_in(self, readings: Sequence[Reading], gathering: Sequence[Gathering], shared: bool) -> dict[str, Span]:
        """Give every measurement the coordinates of the wide layers; return the layers' spans."""
        return {reading.name: self._take_in(reading, gathering, shared) for reading in readings}

    def _take_in(self, reading: Reading, gathering: Sequence[Gathering], shared: bool) -> Span:
        features = self._features(reading, shared)
        if self.most is not None and len(features) > self.most:
            raise BudgetExceeded(
                f"a split has {len(features):,} samples, and by its loader's dataset there were {self.most:,}: wide "
                "layers cannot be measured as planned. Give reduce='gap', or a dataset of the samples that are drawn"
            )
        kept = finite_rows(features, self.nonfinite)
        isometry = isometry_of(features, kept)
        every = gathered(sum(len(next(iter(batch[0].values()))[0]) for batch in self.seen), shared)
        start = sum(earlier(every))
        count = every[len(earlier(every))] if shared else every[0]
        span = Span(isometry, start, count, lambda: self._features(reading, shared))
        own = None if kept is None else kept[start : start + count]
        if self.seen:
            for measured, seen in zip(gathering, joined(self.seen), strict=True):
                measured.update_narrow(reading, span.coordinates, own, seen, isometry.squares)
        return span

    def _features(self, reading: Reading, shared: bool) -> Tensor:
        """The features of the samples of all processes, one process after the other."""
        assert self.bank is not None
        held = list(self.bank.get(reading.name))
        own = torch.cat(held) if held else torch.zeros(0, reading.features)
        del held
        parts = [part for part in gathered(own, shared) if len(part)]
        return torch.cat(parts) if len(parts) > 1 else own if not parts else parts[0]
