"""Lines and warnings on what a measurement found: unmatched scores, small or unseen classes, numbers that are NaN."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from layerwise.passes import SplitResult
from layerwise.passes.class_sizes import FEW, least_classes
from layerwise.runtime.distributed import is_secondary_process
from layerwise.runtime.progress import logger

__all__ = ["Notices", "empty_fits_line", "lines_of_split", "warn_of_few_classes", "warn_of_missing"]


class Notices:
    """Logs each line once, however often the network is measured."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def log(self, line: str) -> None:
        """Log a line, unless it was logged before."""
        if self.is_new(line) and not is_secondary_process():
            logger.warning("%s", line)

    def is_new(self, key: str) -> bool:
        """Record a key, and return whether it was not there yet."""
        new = key not in self._logged
        self._logged.add(key)
        return new


def warn_of_missing(notices: Notices, kind: str, line: str, *, asked: bool) -> None:
    """Report once for each kind that numbers are NaN: a warning where the metrics were asked for, else a logged line.

    Parameters
    ----------
    notices : Notices
    kind, line : str
        The reason in a word, and a line on it; nothing is reported for an empty line.
    asked : bool
        Whether the metrics were asked for by name.
    """
    if not line or not notices.is_new(kind):
        return
    if asked:
        _warn_caller(line)
    else:
        notices.log(line)


def warn_of_few_classes(result: SplitResult, split: str) -> None:
    """Warn where there are no two classes to compare."""
    for target, present in result.present.items():
        if present < 2:
            _warn_caller(
                f"split {split!r} has {present} class of target {target!r}; what compares classes is NaN there"
            )


def lines_of_split(
    result: SplitResult, train: SplitResult | None, split: str, names: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Return the lines on a split's classes: how scores match them, which are small, and which training lacks."""
    matches = [
        f"the classes of {target!r} and the network's scores are matched {how}"
        if target in result.rows
        else f"no prediction of the network is compared: {how}"
        for target, how in result.matched.items()
    ]
    small = [
        f"split {split!r} has {count} sample{'s' * (count > 1)} of class {name} of target {target!r}: with fewer than "
        f"{FEW} what compares classes has a large error"
        for target, (name, count) in least_classes(result, names).items()
    ]
    unseen = [] if train is None else _unseen_classes(result, train, split)
    return [*dict.fromkeys(matches), *small, *unseen]


def empty_fits_line(empty: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """Return a line on fits to no more samples than features; an empty one where there are none.

    Parameters
    ----------
    empty : mapping
        Layers where a fit is NaN, by split and metric.
    """
    if not empty:
        return ""
    split, of_split = next(iter(empty.items()))
    layers = list(dict.fromkeys(layer for of_metric in of_split.values() for layer in of_metric))
    names = ", ".join(dict.fromkeys(name for by_metric in empty.values() for name in by_metric))
    return (
        f"{names}: NaN in {len(layers)} layer{'s' * (len(layers) > 1)} of split {split!r}, such as {layers[0]!r}: "
        "a fit to no more samples than features explains any labels. Give more samples, or fewer features with "
        "reduce='sketch:k'"
    )


def _unseen_classes(result: SplitResult, train: SplitResult, split: str) -> list[str]:
    """Return a line for each target with classes that the training split lacks: no class mean is theirs."""
    lines = []
    for target, counts in result.counts.items():
        training_counts = np.zeros_like(counts)
        known = train.counts[target][: len(counts)]
        training_counts[: len(known)] = known
        missing = int(((counts > 0) & (training_counts == 0)).sum())
        if missing:
            lines.append(
                f"classes of target {target!r} in split {split!r} without a sample in 'train': {missing}; no class "
                "mean is theirs, and every sample of them counts as an error"
            )
    return lines


def _warn_caller(message: str) -> None:
    """Warn at the line outside of this package that asked for the measurement."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "layerwise":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
