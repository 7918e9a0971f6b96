"""Wide layers of few samples: once all samples are there, their span gives exact statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from layerwise.errors import BudgetExceeded
from layerwise.features.reading import LayerReading
from layerwise.passes.checks import finite_rows
from layerwise.passes.feature_cache import CacheSection, FeatureCache
from layerwise.passes.first_accumulator import FirstAccumulator
from layerwise.passes.replicates import TargetView, joined
from layerwise.passes.spans import Span
from layerwise.runtime.distributed import all_gather, of_lower_ranks
from layerwise.statistics.isometry import isometry_of

__all__ = ["WideLayers"]


class WideLayers:
    """Keeps what is seen of each batch until the features of all of them are there.

    Attributes
    ----------
    seen : list
        What every measurement sees of each batch.
    """

    def __init__(self, bank: FeatureCache | CacheSection | None, nonfinite: str, most: int | None = None) -> None:
        self.bank = bank
        self.most = most
        self.nonfinite = nonfinite
        self.seen: list[list[dict[str, TargetView]]] = []

    def take_in(
        self, readings: Sequence[LayerReading], gathering: Sequence[FirstAccumulator], shared: bool
    ) -> dict[str, Span]:
        """Give every measurement the coordinates of the wide layers; return the layers' spans."""
        if not readings:
            return {}
        counts = all_gather(sum(len(next(iter(batch[0].values()))[0]) for batch in self.seen), shared)
        before = of_lower_ranks(counts)
        start, count = sum(before), counts[len(before)]
        seen = joined(self.seen)
        spans = {}
        for reading in readings:
            span, kept = self._span(reading, start, count, shared)
            spans[reading.name] = span
            for measured, own in zip(gathering, seen, strict=True) if seen else ():
                measured.update_narrow(reading, span.coordinates, kept, own, span.isometry.squares)
        return spans

    def _span(self, reading: LayerReading, start: int, count: int, shared: bool) -> tuple[Span, Tensor | None]:
        """The span of a layer's samples, and which of this process's own count; None for all."""
        features = self._features(reading, shared)
        if self.most is not None and len(features) > self.most:
            raise BudgetExceeded(
                f"a split has {len(features):,} samples, and by its loader's dataset there were {self.most:,}: wide "
                "layers cannot be measured as planned. Give reduce='gap', or a dataset of the samples that are drawn"
            )
        kept = finite_rows(features, self.nonfinite)
        span = Span(isometry_of(features, kept), start, count, lambda: self._features(reading, shared))
        return span, None if kept is None else kept[start : start + count]

    def _features(self, reading: LayerReading, shared: bool) -> Tensor:
        """The features of the samples of all processes, one process after the other."""
        assert self.bank is not None
        held = list(self.bank.get(reading.name))
        own = torch.cat(held) if held else torch.zeros(0, reading.features)
        del held
        parts = [part for part in all_gather(own, shared) if len(part)]
        return torch.cat(parts) if len(parts) > 1 else own if not parts else parts[0]
