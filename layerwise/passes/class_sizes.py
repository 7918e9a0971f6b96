"""Checks of the samples of each class: labels that are an index are refused, classes of few samples are found."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from layerwise.errors import InvalidLabels
from layerwise.passes.matching import IN_ORDER
from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult

__all__ = ["FEW", "check_class_sizes", "least_classes"]

#: With fewer samples of a class, metrics that compare classes have a large error.
FEW = 20


def check_class_sizes(result: SplitResult, request: PassRequest, split: str) -> None:
    """Check that labels are classes, and not the number of each sample.

    Declared classes, classes of earlier splits, and classes that the network has scores for are taken as they are.

    Raises
    ------
    InvalidLabels
        If there are as many classes as samples.
    """
    for target, counts in result.counts.items():
        rows, samples = counts.nonzero()[0], int(counts.sum())
        present = len(rows)
        scored = target in result.rows and result.matched.get(target) != IN_ORDER
        known = target in request.classes or scored or (present > 0 and rows.max() < result.earlier[target])
        if known or present < 2 or 2 * present <= samples:
            continue
        found = f"split {split!r} has {present:,} classes of target {target!r} in {samples:,} samples"
        if present == samples:
            raise InvalidLabels(
                f"{found}: either the labels are an index, or every class has one sample. Give (inputs, labels) "
                f"without the index; if they are classes, number them from 0 and declare them, classes={present}"
            )
        warnings.warn(f"{found}; if the labels are an index, the numbers say nothing", stacklevel=5)


def least_classes(result: SplitResult, names: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, int]]:
    """Return name and samples of the smallest class of every target, if it has fewer than `FEW` samples."""
    found = {}
    for target, counts in result.counts.items():
        present = counts.nonzero()[0]
        if len(present) and counts[present].min() < FEW:
            row = int(present[counts[present].argmin()])
            class_names = names.get(target, ())
            number = int(result.ids[target][row])
            found[target] = (class_names[number] if number < len(class_names) else str(number), int(counts[row]))
    return found
