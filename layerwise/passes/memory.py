"""How much memory statistics take, over a run and for the moment in which a layer is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from layerwise.metrics.sizes import Sizes
from layerwise.passes.workload import Workload
from layerwise.statistics.centers import JUDGED
from layerwise.statistics.residuals import block_width

__all__ = ["CHUNK", "ENOUGH", "WIDEST_WAITING", "MemoryModel"]

#: Samples of narrow features that are taken in at once.
ENOUGH = 256
#: Numbers that are read at once from features that wait.
CHUNK = 1 << 20

#: Wider features fill the cores batch by batch, and never wait.
WIDEST_WAITING = 2048

_FLOAT, _SINGLE = 8, 4


@dataclass(frozen=True)
class MemoryModel:
    """The bytes that a workload takes."""

    work: Workload

    def of_a_class(self, widths: Sequence[int]) -> int:
        """Return the bytes that each class takes in all layers.

        They are sums and pivots of pass 1, or what replaces them in pass 2: means, basis and probe, of the split and of
        the training split.
        """
        return sum(widths) * (48 if self.work.two_passes else 24) * self.work.targets * self.work.measurements

    def of_covariances(self, width: int) -> int:
        """Return the bytes of all covariances of `width` features of a layer.

        A regression target has the second moment of the normalised features beside the covariance, and eigenvectors.
        Only one replicate is finished at a time, and under shuffled labels the covariance is that of the whole.
        """
        work = self.work
        taken = work.covariances * (24 + 16 * work.replicates) * width**2
        joint = 40 + 24 * work.replicates
        for dimension in work.regression:
            taken += joint * (width + dimension) ** 2
            taken += _FLOAT * work.shuffles * dimension * (width + 2 * dimension)
        return taken

    def of_finishing(self, width: int, narrow: int) -> int:
        """Return the bytes that one layer takes for the moment.

        The largest of taking a batch in, opening pass 2, and the layer's most costly metric.

        Parameters
        ----------
        width : int
            Features of the layer.
        narrow : int
            Features of its covariance; 0 where none is kept.
        """
        work = self.work
        sizes = Sizes(work.classes if work.targets else 0, width, narrow)
        means, covariance = sizes.classes * width, narrow**2
        rows = self._at_most(max(work.batch, ENOUGH, CHUNK // width if work.two_passes else 0))
        # Read back in single precision, and taken from the class means in double precision, a few columns at a time.
        batch = rows * (width + narrow + 3 * min(width, block_width(rows)))
        moments = [batch, *(metric.workspace(sizes) for metric in work.metrics)]
        if narrow:
            # Moments are symmetrised, and the probe solved for, in copies.
            moments.append(3 * means + 3 * covariance)
        if work.two_passes:
            moments.append(4 * means)
            moments.append(batch + 4 * min(rows * work.classes, JUDGED))
        return _FLOAT * max(moments)

    def of_waiting(self, widths: Sequence[int]) -> int:
        """Return the bytes of the small batches of narrow features that wait to be taken in at once."""
        # Later batches may be smaller than the first.
        waiting = self._at_most(ENOUGH + min(self.work.batch, ENOUGH))
        return _SINGLE * waiting * sum(width for width in widths if width <= WIDEST_WAITING)

    def of_comparing(self, width: int, samples: int) -> int:
        """Return the bytes that one layer takes while some of its samples are measured through their span."""
        narrow = min(width, samples + 1)
        work = replace(self.work, replicates=0, shuffles=0, batch=min(self.work.batch, ENOUGH), samples=samples)
        alone = MemoryModel(work)
        # The features twice, their products and what comes of them, and what the judging split keeps.
        of_span = 2 * width * samples * work.itemsize + 6 * _FLOAT * samples**2
        judging = 2 * work.classes * alone.of_a_class([width])
        return of_span + judging + alone.of_covariances(narrow) + alone.of_finishing(width, narrow)

    def _at_most(self, samples: int) -> int:
        return samples if self.work.samples is None else min(samples, self.work.samples)
