"""The first stage of a profile: data as loaders, targets and names of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerwise.adapters.protocol import Batch
from layerwise.data.peek import first_batch
from layerwise.errors import EmptyData
from layerwise.features.reduction import DENSE
from layerwise.metrics import Metric
from layerwise.network.failures import in_reading
from layerwise.network.network import Network
from layerwise.profiling.inputs import Loaders, class_names, dimensions, find_loaders, names_of_labels
from layerwise.runtime.distributed import is_shared
from layerwise.settings import Settings

__all__ = ["Inputs", "prepare_inputs"]


@dataclass(frozen=True)
class Inputs:
    """Loaders, and what the first batch shows of their labels.

    Attributes
    ----------
    loaders : Loaders
    targets : tuple of str
        Names of all targets.
    dimensions : mapping of str to int
        Dimension of every regression target.
    class_names : mapping of str to tuple of str
        Names of the classes of every target whose classes are declared.
    """

    loaders: Loaders
    targets: tuple[str, ...]
    dimensions: Mapping[str, int]
    class_names: Mapping[str, tuple[str, ...]]

    @property
    def class_targets(self) -> list[str]:
        """The targets that have classes."""
        return [target for target in self.targets if target not in self.dimensions]

    @property
    def class_counts(self) -> dict[str, int]:
        """Declared number of classes, by target."""
        return {target: len(names) for target, names in self.class_names.items()}

    @property
    def shared(self) -> bool:
        """Whether several processes have a part of the samples each."""
        return any(map(is_shared, self.loaders.splits.values()))

    def applies(self, metric: Metric) -> bool:
        """Whether a metric can be computed for any of the targets."""
        return metric.applies(classes=bool(self.class_targets), regression=bool(self.dimensions))

    def ignored(self, settings: Settings) -> tuple[int, ...]:
        """Labels of tokens or pixels that do not count."""
        return settings.ignored(max(self.class_counts.values(), default=0))


def prepare_inputs(network: Network, data: Any, settings: Settings, batch_size: int) -> tuple[Inputs, Batch]:
    """Find the loaders, and read their first batch.

    Raises
    ------
    InvalidData, InvalidLabels, UnknownName
        If the data, its labels or the declared classes cannot be used.
    EmptyData
        If the first split has no batch.
    """
    loaders = find_loaders(data, network.model, network.adapter, batch_size)
    first = _first_batch(network, loaders)
    targets = tuple(first.labels)
    sizes = dimensions(first, settings.reduce)
    declared = class_names(settings.classes, loaders, targets, sizes)
    from_labels = {} if settings.reduce in DENSE else names_of_labels(first)
    return Inputs(loaders, targets, sizes, from_labels | declared), first


def _first_batch(network: Network, loaders: Loaders) -> Batch:
    split, loader = next(iter(loaders.splits.items()))
    with in_reading(split, "a first look", 0):
        raw = first_batch(loader)
        batch = None if raw is None else network.batch(raw)
    if batch is None or not batch.size:
        raise EmptyData(f"split {split!r} is empty: its loader gave no batch")
    return batch
