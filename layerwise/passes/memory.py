"""How much memory statistics take, held over a run and for the moment in which a layer is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from layerwise.metrics import Metric
from layerwise.metrics.sizes import Sizes
from layerwise.statistics.centers import JUDGED
from layerwise.statistics.residuals import block_width

__all__ = ["CHUNK", "ENOUGH", "WIDEST_WAITING", "MemoryModel"]

#: Samples of narrow features that are taken in at once.
ENOUGH = 256
#: Numbers that are read at once from features that wait as a whole.
CHUNK = 1 << 20

#: Wider features fill the cores batch by batch, and never wait.
WIDEST_WAITING = 2048

_FLOAT, _SINGLE = 8, 4


@dataclass(frozen=True)
class MemoryModel:
    """What is measured of every layer.

    Attributes
    ----------
    classes, targets : int
        Classes, and targets that have them.
    dimensions : tuple of int
        Of every regression target; none where no metric asks for regression.
    needs : frozenset of str
        Statistics that the metrics ask for.
    metrics : sequence of Metric
    replicates, shuffles : int
        How often everything is measured again, without some of the samples and under other labels.
    batch : int
        Samples in a batch.
    samples : int or None
        Of the largest split; None where it cannot be known.
    """

    classes: int
    targets: int
    dimensions: tuple[int, ...]
    needs: frozenset[str]
    metrics: Sequence[Metric] = ()
    replicates: int = 0
    shuffles: int = 0
    batch: int = 1
    samples: int | None = None

    @property
    def times(self) -> int:
        """How often class means are held."""
        return 1 + self.replicates + self.shuffles

    @property
    def two_passes(self) -> bool:
        """Whether a statistic needs the class means of all samples before it sees any."""
        return bool({"span", "nearest", "probe", "fourth"} & self.needs)

    @property
    def of_classes(self) -> int:
        """Targets of classes that a covariance is kept for."""
        return self.targets if {"covariance", "probe"} & self.needs else 0

    def of_a_class(self, widths: Sequence[int]) -> int:
        """Bytes that each class takes in all layers.

        Sums and pivots of pass 1, or what replaces them in pass 2: means, basis and probe, own and train's.
        """
        return sum(widths) * (48 if self.two_passes else 24) * self.targets * self.times

    def of_covariances(self, width: int) -> int:
        """Bytes of all covariances of so many features of a layer.

        A regression target has the second moment of the normalised features beside the covariance, and eigenvectors. Of
        replicates only what the metrics are computed of is all there at a time, and under shuffled labels the
        covariance is that of all.
        """
        taken = self.of_classes * (24 + 16 * self.replicates) * width**2
        of_both = 40 + 24 * self.replicates
        for dimension in self.dimensions:
            taken += of_both * (width + dimension) ** 2
            taken += _FLOAT * self.shuffles * dimension * (width + 2 * dimension)
        return taken

    def of_finishing(self, width: int, narrow: int) -> int:
        """Bytes that one layer takes for the moment: taking a batch in, opening pass 2, or its most costly metric.

        Parameters
        ----------
        width : int
            Features of the layer.
        narrow : int
            Those that its covariance is of; 0 where none is kept.
        """
        sizes = Sizes(self.classes if self.targets else 0, width, narrow)
        means, covariance = sizes.classes * width, narrow**2
        together = self._at_most(max(self.batch, ENOUGH, CHUNK // width if self.two_passes else 0))
        # Read back in single precision, and taken from the class means in double precision, a few columns at a time.
        batch = together * (width + narrow + 3 * min(width, block_width(together)))
        moments = [batch, *(metric.workspace(sizes) for metric in self.metrics)]
        if narrow:
            # Moments are symmetrised, and the probe solved for, in copies.
            moments.append(3 * means + 3 * covariance)
        if self.two_passes:
            moments.append(4 * means)
            moments.append(batch + 4 * min(together * self.classes, JUDGED))
        return _FLOAT * max(moments)

    def of_waiting(self, widths: Sequence[int]) -> int:
        """Bytes of the small batches of narrow features that wait to be taken in together."""
        # Later batches may be smaller than the first.
        waiting = self._at_most(ENOUGH + min(self.batch, ENOUGH))
        return _SINGLE * waiting * sum(width for width in widths if width <= WIDEST_WAITING)

    def of_comparing(self, width: int, samples: int, itemsize: int) -> int:
        """Bytes that one layer takes while so many of its samples are measured in the coordinates of their span."""
        narrow = min(width, samples + 1)
        alone = replace(self, replicates=0, shuffles=0, batch=min(self.batch, ENOUGH), samples=samples)
        # The features twice, their products and what comes of them, and what the judging split leaves.
        of_span = 2 * width * samples * itemsize + 6 * _FLOAT * samples**2
        judging = 2 * self.classes * alone.of_a_class([width])
        return of_span + judging + alone.of_covariances(narrow) + alone.of_finishing(width, narrow)

    def _at_most(self, samples: int) -> int:
        return samples if self.samples is None else min(samples, self.samples)
