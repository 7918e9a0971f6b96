"""The batches of a split as pass 1 left them in the feature cache: labels, groups, predictions and features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from layerwise.features.reading import LayerReading
from layerwise.passes.feature_cache import CacheSection, FeatureCache
from layerwise.passes.small_batches import chunks

__all__ = ["CachedBatches"]


class CachedBatches:
    """Reads the batches of a feature cache.

    Parameters
    ----------
    feature_cache : FeatureCache or CacheSection
    targets : sequence of str
        The targets with classes.
    judged : sequence of str
        The targets that the network predicts.
    """

    def __init__(
        self, feature_cache: FeatureCache | CacheSection, targets: Sequence[str], judged: Sequence[str]
    ) -> None:
        self._cache = feature_cache
        labels = [list(feature_cache.get(f"labels of {target}")) for target in targets]
        self._labels = [dict(zip(targets, values, strict=True)) for values in zip(*labels, strict=True)]
        self._sizes = [len(values) for values in labels[0]] if labels else []
        self._predictions = {target: list(feature_cache.get(f"predictions of {target}")) for target in judged}

    def labels(self) -> list[tuple[dict[str, Tensor], Tensor | None]]:
        """Return the labels of every batch by target, and the jackknife group of its samples where it is kept."""
        groups: list[Tensor | None] = list(self._cache.get("groups"))
        groups = groups or [None] * len(self._labels)
        return list(zip(self._labels, groups, strict=True))

    def chunks_of(self, reading: LayerReading) -> Iterator[tuple[slice, Tensor]]:
        """Yield the features of a layer, several batches at once, and which batches these are."""
        batches = self._cache.get(reading.name)
        for chunk in chunks(self._sizes, reading.features):
            yield chunk, torch.cat(list(islice(batches, chunk.stop - chunk.start)))

    def predictions_of(self, chunk: slice) -> dict[str, Tensor]:
        """Return the network's predictions for some batches, by target."""
        return {target: torch.cat(batches[chunk]) for target, batches in self._predictions.items() if batches}
