"""The result of the passes over one split: statistics, counts, and what other splits are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from layerwise.passes.evidence import Evidence
from layerwise.passes.hashed_subsample import Subsample
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.spans import Span
from layerwise.statistics import Centers, Moments, Readout, RidgeProbe

__all__ = ["Key", "Reference", "SplitResult", "side_by_side"]

#: A target's name and a layer's name.
Key = tuple[str, str]

# The fields of tokens and pixels that have an entry for every target or stream.
_BY_TARGET = (
    *("evidence", "references", "positions", "classes", "present", "absent", "ids", "counts", "rows", "matched"),
    *("earlier", "errors", "class_errors", "mean_ious", "sizes", "scores", "left_out", "totals"),
    *("squares", "units", "readouts", "without_target"),
)


@dataclass(frozen=True)
class Reference:
    """The class means and the probe that judge the samples of other splits."""

    centers: Centers
    probe: RidgeProbe | None


@dataclass
class SplitResult:
    """Statistics and counts of one split.

    Attributes
    ----------
    evidence : dict
        Finished statistics by target and layer, under the names of `layerwise.metrics.EVIDENCE`.
    samples : int
        Number of samples; of texts or pictures, where their tokens or pixels are measured.
    positions : dict of str to int
        Number of tokens or pixels that count, by target and resolution.
    classes, present : dict of str to int
        Number of classes of every target, and of its classes with a sample.
    absent : dict of str to list of int
        Ids of the classes without a sample.
    ids : dict of str to ndarray
        Id of every class of a target, in the order of their rows, shape ``(C,)``.
    counts : dict of str to ndarray
        Samples of each of these classes, shape ``(C,)``.
    earlier : dict of str to int
        The number of these classes that earlier splits had.
    rows : dict of str to ndarray
        The place of every class among the network's class scores, shape ``(C,)``, for targets that it has scores of.
    matched : dict of str to str
        How classes and scores were matched, or why not; without an entry for the usual match.
    common : list of str
        Targets that the network's own scores judge, and not those of an output for the target.
    judged_by_itself : bool
        Whether class means and fits come from the same samples.
    errors : dict of str to float
        Share of samples that the network itself gets wrong; absent where it has no classifier for the target.
    class_errors : dict of str to ndarray
        The same for each class, shape ``(C,)``, where tokens or pixels are samples.
    mean_ious : dict of str to float
        Mean over classes of intersection over union, where tokens or pixels are samples.
    sizes : dict
        Samples of each class of a target and layer, drawn or not, shape ``(C,)``; where some are drawn.
    scores : dict of str to int
        The number of the network's class scores, by target; targets without scores are missing.
    squares : dict of str to ndarray
        Mean squared error of the network itself, by regression target and its dimensions; absent where it has no
        output for the target.
    left_out : dict of str to int
        Samples left out of a layer because they were not finite.
    without_target : dict of str to int
        Samples left out of a regression target because it was not finite.
    fingerprint, labels_fingerprint : str
        Fingerprints of the data, and of its labels alone.
    references : dict
        The centres and the probe of each target and layer, for other splits to be judged against.
    readouts : dict
        The best affine map to each regression target, likewise.
    units : dict of str to ndarray
        The divisor of each regression target.
    without : list of SplitResult
        The results without each jackknife group.
    shuffled : list of SplitResult
        The results under each shuffle of the labels and targets.
    totals : dict
        For a result under shuffled labels or targets: the moments under the labels as they are, which have the same
        total covariance.
    order : str
        The order in which the texts or pictures of several processes were counted, where that makes a difference.
    spans : dict of str to Span
        Isometries of wide layers of few samples, by layer.
    compared : list of tuple of PassRequest and Subsample
        Kept samples of the layers that are projected, and the request for all samples.
    missing_classes : set
        (target, layer) pairs that lose a class when this group is left out, in the split or in the one that judges.
    """

    evidence: dict[Key, Evidence] = field(default_factory=dict)
    samples: int = 0
    positions: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    absent: dict[str, list[int]] = field(default_factory=dict)
    ids: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    earlier: dict[str, int] = field(default_factory=dict)
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    matched: dict[str, str] = field(default_factory=dict)
    common: list[str] = field(default_factory=list)
    judged_by_itself: bool = True
    errors: dict[str, float] = field(default_factory=dict)
    class_errors: dict[str, np.ndarray] = field(default_factory=dict)
    mean_ious: dict[str, float] = field(default_factory=dict)
    sizes: dict[Key, np.ndarray] = field(default_factory=dict)
    scores: dict[str, int] = field(default_factory=dict)
    squares: dict[str, np.ndarray] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    without_target: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""
    label_fingerprint: str = ""
    references: dict[Key, Reference] = field(default_factory=dict)
    readouts: dict[Key, Readout] = field(default_factory=dict)
    units: dict[str, np.ndarray] = field(default_factory=dict)
    without: list[SplitResult] = field(default_factory=list)
    shuffled: list[SplitResult] = field(default_factory=list)
    totals: dict[Key, Any] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    compared: list[tuple[PassRequest, Subsample]] = field(default_factory=list)
    missing_classes: set[Key] = field(default_factory=set)
    order: str = ""

    @property
    def replicates(self) -> Replicates[SplitResult]:
        """The results of all measurements of the split."""
        return Replicates(self, self.without, self.shuffled)

    def covariance(self, key: Key) -> Moments:
        """Return the moments that hold a layer's covariance, within classes too."""
        moments = self.evidence[key]["covariance"]
        return moments.within_total(self.totals[key].covariance) if key in self.totals else moments

    def standardize(self, train: SplitResult) -> None:
        """Convert the network's own squared errors to the units of the training split."""
        for target, squares in self.squares.items():
            if target in train.units:
                self.squares[target] = squares / train.units[target] ** 2

    def release_references(self) -> None:
        """Drop what other splits are judged by."""
        for result in self.replicates:
            result.references.clear()
            result.readouts.clear()

    def release_statistics(self) -> None:
        """Drop the statistics, but for what other splits are judged by."""
        for result in self.replicates:
            result.evidence.clear()
            result.totals.clear()
            result.spans.clear()


def side_by_side(results: Sequence[SplitResult]) -> SplitResult:
    """Combine the results of all streams of tokens or pixels; counts of a target are those of its first stream."""
    whole = replace(results[0])
    for name in _BY_TARGET:
        combined: dict[Any, Any] = {}
        for result in results:
            for key, value in getattr(result, name).items():
                combined.setdefault(key, value)
        setattr(whole, name, combined)
    whole.compared = [pair for result in results for pair in result.compared]
    whole.missing_classes = {key for result in results for key in result.missing_classes}
    replicates = Replicates.gather([result.replicates for result in results])
    whole.without = [side_by_side(parts) for parts in replicates.without]
    whole.shuffled = [side_by_side(parts) for parts in replicates.shuffled]
    return whole
