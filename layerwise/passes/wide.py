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
from layerwise.passes.replicates import Replicates
from layerwise.passes.spans import Span
from layerwise.passes.target_views import TargetViews, joined_replicates
from layerwise.runtime.distributed import all_gather, of_lower_ranks
from layerwise.runtime.tensors import map_tensors
from layerwise.statistics import State
from layerwise.statistics.isometry import isometry_of

__all__ = ["WideLayers"]


class WideLayers:
    """Keeps the views of each batch until the features of all batches are there.

    Parameters
    ----------
    readings : sequence of LayerReading
        The wide layers.
    feature_cache : FeatureCache, CacheSection or None
        Where their features wait; None if there is no wide layer.
    nonfinite : {"raise", "drop"}
    most : int, optional
        The samples that the plan allows for.
    """

    def __init__(
        self,
        readings: Sequence[LayerReading],
        feature_cache: FeatureCache | CacheSection | None,
        nonfinite: str,
        most: int | None = None,
    ) -> None:
        self.readings = readings
        self.names = {reading.name for reading in readings}
        self.feature_cache = feature_cache
        self.most = most
        self.nonfinite = nonfinite
        self.views: list[Replicates[TargetViews]] = []

    def end(self, views: Replicates[TargetViews]) -> None:
        """Keep the views of a batch, if there are wide layers."""
        if self.names:
            self.views.append(views)

    def take_in(self, accumulators: Replicates[FirstAccumulator], shared: bool) -> dict[str, Span]:
        """Update every measurement with the coordinates of the wide layers; return the layers' spans."""
        if not self.readings:
            return {}
        counts = all_gather(sum(len(next(iter(batch.whole.values()))[0]) for batch in self.views), shared)
        before = of_lower_ranks(counts)
        start, count = sum(before), counts[len(before)]
        views = joined_replicates(self.views) if self.views else None
        spans = {}
        for reading in self.readings:
            span, kept = self._span(reading, start, count, shared)
            spans[reading.name] = span
            for accumulator, view in zip(accumulators, views, strict=True) if views is not None else ():
                accumulator.update_narrow(reading, span.coordinates, kept, view, span.isometry.squares)
        return spans

    def state(self) -> State:
        """Return the views so far."""
        return {"views": map_tensors([batch.lists() for batch in self.views], lambda tensor: tensor.cpu())}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.views = [Replicates(**batch) for batch in state["views"]]

    def _span(self, reading: LayerReading, start: int, count: int, shared: bool) -> tuple[Span, Tensor | None]:
        """The span of a layer's samples, and which samples of this process count; None for all."""
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
        assert self.feature_cache is not None
        batches = list(self.feature_cache.get(reading.name))
        own = torch.cat(batches) if batches else torch.zeros(0, reading.features)
        del batches
        parts = [part for part in all_gather(own, shared) if len(part)]
        return torch.cat(parts) if len(parts) > 1 else own if not parts else parts[0]
