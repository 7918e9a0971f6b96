"""What is to be planned: layers, data and metrics of a profile, in numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from layerwise.metrics import Metric

__all__ = ["Workload"]


@dataclass(frozen=True)
class Workload:
    """What the passes have to measure.

    Attributes
    ----------
    widths : sequence of int
        Features of every layer after reduction.
    classes, targets : int
        Classes, and targets that have them.
    samples : int or None
        Samples of the largest split; None if they cannot be known before the run.
    dimensions : sequence of int
        Dimension of every regression target.
    needs : collection of str
        Statistics that the metrics ask for (`layerwise.metrics.EVIDENCE`).
    metrics : sequence of Metric
        The metrics themselves, for what computing them takes.
    replicates : int
        How often everything is measured again, without some of the samples.
    shuffles : int
        How often under other labels, which leave the covariance as it is.
    batch : int
        Samples in a batch.
    splits : int
        The number of splits.
    itemsize : int
        Bytes of a feature.
    positions : bool
        Whether tokens or pixels are the samples.
    repeatable : bool
        Whether every loader runs twice.
    """

    widths: Sequence[int]
    classes: int
    samples: int | None
    needs: Collection[str]
    targets: int = 1
    dimensions: Sequence[int] = ()
    metrics: Sequence[Metric] = ()
    replicates: int = 0
    shuffles: int = 0
    batch: int = 64
    splits: int = 1
    itemsize: int = 4
    positions: bool = False
    repeatable: bool = True

    @property
    def regression(self) -> tuple[int, ...]:
        """Dimensions of the regression targets, where a metric asks for regression."""
        return tuple(self.dimensions) if "regression" in self.needs else ()

    @property
    def measurements(self) -> int:
        """How often class means are held."""
        return 1 + self.replicates + self.shuffles

    @property
    def two_passes(self) -> bool:
        """Whether a statistic needs the class means of all samples before it sees any."""
        return bool({"span", "nearest", "probe", "fourth"} & set(self.needs))

    @property
    def covariances(self) -> int:
        """The number of targets with classes that a covariance is kept for."""
        return self.targets if {"covariance", "probe"} & set(self.needs) else 0

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of the features of all layers."""
        return sum(self.widths) * self.itemsize
