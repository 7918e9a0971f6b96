"""What a profile tells of its labels: the network's scores, small classes, and regression targets."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerwise.passes import SplitResult
from layerwise.passes.class_sizes import FEW, least_classes

__all__ = [
    "classes_told",
    "line_of_empty_fits",
    "lines_of",
    "of_classes",
    "of_targets",
    "unseen_classes",
    "warn_of_few_classes",
]

Names = Mapping[str, tuple[str, ...]]

# More classes than this are told by their number alone.
_MOST_NAMED = 1000


def classes_told(names: Names, dimensions: Mapping[str, int]) -> dict[str, Any]:
    """Names of the classes of every target, or how many there are of a whole vocabulary."""
    of_classes = {target: own for target, own in names.items() if target not in dimensions}
    return {target: own if len(own) <= _MOST_NAMED else len(own) for target, own in of_classes.items()}


def of_classes(results: Mapping[str, SplitResult], names: Names) -> dict[str, Any]:
    """Which targets the network's own scores are of and how they were matched, absent classes and small ones."""
    with_classifier = sorted({target for result in results.values() for target in result.errors})
    matched = {target: how for result in results.values() for target, how in result.matched.items()}
    few = {split: least_classes(result, names) for split, result in results.items()}
    return {
        "absent_classes": {split: result.absent for split, result in results.items() if any(result.absent.values())},
        "classifier": with_classifier or _why_no_classifier(results),
        **({"class_scores": matched} if matched else {}),
        **({"few_samples": {split: own for split, own in few.items() if own}} if any(few.values()) else {}),
    }


def of_targets(results: Mapping[str, SplitResult], dimensions: Mapping[str, int]) -> dict[str, Any]:
    """What is told of regression targets; nothing where there are none."""
    if not dimensions:
        return {}
    own = sorted({target for result in results.values() for target in result.squares})
    missing = {split: result.without_target for split, result in results.items() if result.without_target}
    return {
        "regression": dict(dimensions),
        "regression_output": own or "none: no output of the network is of the target",
        "without_target": missing,
    }


def lines_of(result: SplitResult, split: str, names: Names) -> list[str]:
    """What is worth a line of the classes of a split: how they were matched with scores, and which are small."""
    lines = [
        f"the classes of {target!r} and the network's scores are matched {how}"
        if target in result.rows
        else f"no prediction of the network is compared: {how}"
        for target, how in result.matched.items()
    ]
    return list(dict.fromkeys(lines)) + [
        f"split {split!r} has {count} sample{'s' * (count > 1)} of class {name} of target {target!r}: with fewer than "
        f"{FEW} what compares classes has a large error"
        for target, (name, count) in least_classes(result, names).items()
    ]


def unseen_classes(result: SplitResult, train: SplitResult | None, split: str) -> list[str]:
    """A line for each target with classes that the training split lacks: they are nearest to no mean of their own."""
    lines = []
    for target, counts in result.counts.items() if train is not None else ():
        assert train is not None
        known = np.zeros_like(counts)
        own = train.counts[target][: len(counts)]
        known[: len(own)] = own
        missing = int(((counts > 0) & (known == 0)).sum())
        if missing:
            lines.append(
                f"classes of target {target!r} in split {split!r} without a sample in 'train': {missing}; no class "
                "mean is theirs, and every sample of them counts as an error"
            )
    return lines


def line_of_empty_fits(empty: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """A line on fits to no more samples than features: the layers, by split and metric, where they are NaN."""
    split, of_split = next(iter(empty.items()))
    layers = list(dict.fromkeys(layer for own in of_split.values() for layer in own))
    names = ", ".join(dict.fromkeys(name for own in empty.values() for name in own))
    return (
        f"{names}: NaN in {len(layers)} layer{'s' * (len(layers) > 1)} of split {split!r}, such as {layers[0]!r}: "
        "a fit to no more samples than features explains any labels. Give more samples, or fewer features with "
        "reduce='sketch:k'"
    )


def warn_of_few_classes(result: SplitResult, split: str) -> None:
    """Warn where there are no two classes to compare."""
    for target, present in result.present.items():
        if present < 2:
            warnings.warn(
                f"split {split!r} has {present} class of target {target!r}; what compares classes is NaN there",
                stacklevel=5,
            )


def _why_no_classifier(results: Mapping[str, SplitResult]) -> str:
    """Why the network's own predictions are compared with no target."""
    result = next(iter(results.values()))
    if not result.scores:
        return "none: the network has no classifier of its own"
    counts = ", ".join(
        f"{result.scores[target]} scores for {count} classes of {target}"
        for target, count in result.classes.items()
        if target in result.scores
    )
    why = "".join(f"; {line}" for line in dict.fromkeys(result.matched.values()))
    return f"none: the network has {counts}{why}"
