"""What the passes over one split give."""

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

# What tokens and pixels have of every target and resolution.
_BY_TARGET = (
    *("evidence", "references", "positions", "classes", "present", "absent", "ids", "counts", "rows", "matched"),
    *("earlier", "errors", "class_errors", "mean_ious", "sizes", "scores", "left_out", "totals"),
    *("squares", "units", "readouts", "without_target"),
)


@dataclass(frozen=True)
class Reference:
    """What other splits are judged against."""

    centers: Centers
    probe: RidgeProbe | None


@dataclass
class SplitResult:
    """What one split gave.

    Attributes
    ----------
    evidence : dict
        Finished statistics by target and layer, under the names of `layerwise.metrics.EVIDENCE`.
    samples : int
        Texts or pictures, where their tokens or pixels are measured.
    positions : dict of str to int
        Tokens or pixels that count, by target and resolution.
    classes, present : dict of str to int
        Number of classes of every target, and of those with a sample.
    absent : dict of str to list of int
        Ids of the classes without a sample.
    ids : dict of str to ndarray
        Id of every class of a target, in the order of their rows, shape ``(C,)``.
    counts : dict of str to ndarray
        Samples of each of these classes, shape ``(C,)``.
    earlier : dict of str to int
        How many of these classes earlier splits had.
    rows : dict of str to ndarray
        Which of the network's class scores is that of every class, shape ``(C,)``, of targets that it has scores of.
    matched : dict of str to str
        How classes and scores were matched, or why not, where that is worth telling.
    common : list of str
        Targets whose scores are the network's own, and not those of an output for the target.
    judged_by_itself : bool
        Whether class means and fits are of the same samples.
    errors : dict of str to float
        Share of samples that the network itself gets wrong; absent where it has no classifier for the target.
    class_errors : dict of str to ndarray
        The same of the samples of each class, shape ``(C,)``, where tokens or pixels are samples.
    mean_ious : dict of str to float
        Mean over classes of intersection over union, where tokens or pixels are samples.
    sizes : dict
        Samples of each class of a target and layer, drawn or not, shape ``(C,)``; where some are drawn.
    scores : dict of str to int
        Class scores that the network gives, by target; none where it gives none.
    squares : dict of str to ndarray
        Mean squared error of the network itself, by regression target and its dimensions; absent where none of its
        outputs is of the target.
    left_out : dict of str to int
        Samples left out of a layer because they were not finite.
    without_target : dict of str to int
        Samples left out of a regression target because it was not finite.
    fingerprint, labels_fingerprint : str
        Of the data, and of its labels alone.
    references : dict
        The centres and the probe of each target and layer, for other splits to be judged against.
    readouts : dict
        The same for regression targets: the best affine map.
    units : dict of str to ndarray
        What each regression target was divided by.
    without : list of SplitResult
        What the split gives without each group of samples.
    shuffled : list of SplitResult
        What it gives under each shuffle of the labels and targets.
    totals : dict
        Of shuffled labels: moments of the same features with their own labels, whose covariance of all is the same; of
        shuffled targets likewise.
    order : str
        In which order the texts or pictures of several processes were counted, where that makes a difference.
    spans : dict of str to Span
        Isometries of wide layers of few samples, by layer.
    compared : list of tuple of PassRequest and Subsample
        Samples of the layers that are projected, whose features were kept; and what was asked of them.
    missing_classes : set
        Targets and layers of which that leaves a class, of the split or of the one that judges, without a sample.
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
        """The moments of what a layer's covariance is taken of, with the within-class covariance."""
        moments = self.evidence[key]["covariance"]
        return moments.within_total(self.totals[key].covariance) if key in self.totals else moments

    def standardize(self, train: SplitResult) -> None:
        """Take the network's own squared errors in the units of the training split."""
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
