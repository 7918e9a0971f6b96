"""Raw labels of a file, converted to positions in a tuple of classes, or to regression targets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layerwise.errors import EmptyData, InvalidLabels
from layerwise.runtime.reading_errors import reason

__all__ = ["are_numbers", "encode", "numbers"]

_HINT = "task=regression reads integers, too, as numbers"

# More classes than any data set has: larger labels are identifiers or measurements.
_MOST = 1_000_000


def encode(
    raw: Mapping[str, np.ndarray], classes: tuple[str, ...] | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Convert the labels of all splits to classes, the same ones in every split.

    Parameters
    ----------
    raw : mapping of str to ndarray
        Labels of every split, shape ``(n,)``. Strings become positions in their sorted order; integers and whole floats
        keep their values.
    classes : tuple of str, optional
        Names of integer labels; by default their digits, from 0 to the largest.

    Returns
    -------
    labels : dict of str to ndarray
        Shape ``(n,)``, int64.
    classes : tuple of str
        Name of every class.

    Raises
    ------
    InvalidLabels
        If labels are missing, negative, not whole, or outside `classes`.
    EmptyData
        If a split has no samples.

    Examples
    --------
    >>> encode({"train": np.array(["dog", "cat", "dog"])})
    ({'train': array([1, 0, 1])}, ('cat', 'dog'))
    """
    by_split = {split: _valid_labels(split, labels) for split, labels in raw.items()}
    kinds = {labels.dtype.kind for labels in by_split.values()}
    all_labels = np.concatenate(list(by_split.values()))
    if kinds == {"U"}:
        names, codes = np.unique(all_labels, return_inverse=True)
        return _split_again(codes, by_split), tuple(names.tolist())
    if "U" in kinds:
        words = [split for split, labels in by_split.items() if labels.dtype.kind == "U"]
        raise InvalidLabels(f"the labels of {words} are strings, those of the other splits are numbers")
    if kinds == {"b"}:
        classes = ("False", "True")
    highest = int(all_labels.max())
    if classes is None:
        if highest >= _MOST:
            raise InvalidLabels(f"the label {highest} is no class: at most {_MOST:,} classes, from 0; {_HINT}")
        classes = tuple(map(str, range(highest + 1)))
    if highest >= len(classes):
        raise InvalidLabels(f"the label {highest} is outside the {len(classes)} classes that the data names")
    return _split_again(all_labels.astype(np.int64), by_split), classes


def are_numbers(raw: Mapping[str, np.ndarray]) -> bool:
    """Whether labels look like regression targets: fractions, or several numbers for each sample."""
    return any(map(_are_numbers, raw.values()))


def _are_numbers(labels: np.ndarray) -> bool:
    if labels.dtype.kind == "O":
        # A column of floats with missing ones is read as objects.
        labels = np.array([label for label in labels if isinstance(label, float)])
    if labels.dtype.kind != "f" or labels.size == 0:
        return False
    return np.size(labels[0]) > 1 or bool((np.isfinite(labels) & (labels != np.round(labels))).any())


def numbers(raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert the labels of all splits to regression targets, ``(n,)`` or ``(n, q)``, float64; missing ones become NaN.

    Raises
    ------
    InvalidLabels
        If labels are not numbers, or have more than two axes.
    EmptyData
        If a split has no samples.

    Examples
    --------
    >>> numbers({"train": np.array([3, 1])})
    {'train': array([3., 1.])}
    """
    targets = {}
    for split, labels in raw.items():
        if labels.size == 0:
            raise EmptyData(f"the split {split!r} has no samples")
        if labels.ndim > 2:
            raise InvalidLabels(f"the labels of {split!r} have shape {labels.shape}; (n,) or (n, q) is needed")
        try:
            targets[split] = np.asarray(labels if labels.dtype.kind != "c" else labels.astype(str), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidLabels(f"the labels of {split!r} are no numbers, as regression needs: {error}") from error
    return targets


def _valid_labels(split: str, labels: np.ndarray) -> np.ndarray:
    """Return the labels of a split as strings, booleans or whole numbers from 0, shape ``(n,)``."""
    if labels.size == 0:
        raise EmptyData(f"the split {split!r} has no samples")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InvalidLabels(f"the labels of {split!r} have shape {labels.shape}; one class a sample is needed; {_HINT}")
    if labels.dtype.kind == "O":
        missing = sum(label is None for label in labels)
        if missing:
            raise InvalidLabels(f"{missing} of {len(labels)} labels of {split!r} are missing")
        if not all(isinstance(label, str) for label in labels):
            kinds = sorted({type(label).__name__ for label in labels})
            raise InvalidLabels(f"the labels of {split!r} are {', '.join(kinds)}; strings or integers are needed")
    if labels.dtype.kind in "OUS":
        words = _words(split, labels)
        blank = int((np.char.strip(words) == "").sum())
        if blank:
            raise InvalidLabels(f"{blank} of {len(labels)} labels of {split!r} are empty; leave these rows out")
        return words
    if labels.dtype.kind not in "iufb":
        raise InvalidLabels(f"the labels of {split!r} are {labels.dtype}; strings or integers are needed")
    if labels.dtype.kind == "f":
        wrong = labels[~np.isfinite(labels) | (labels != np.round(labels))]
        if wrong.size:
            raise InvalidLabels(
                f"{wrong.size} of {len(labels)} labels of {split!r} are no integers, such as {float(wrong[0])}; {_HINT}"
            )
    if labels.dtype.kind != "b" and labels.min() < 0:
        raise InvalidLabels(
            f"the labels of {split!r} go down to {int(labels.min())}, and classes start at 0. "
            f"If the split has no labels, leave it out with split=; {_HINT}"
        )
    return labels


def _words(split: str, labels: np.ndarray) -> np.ndarray:
    try:
        return np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels.astype(str)
    except UnicodeDecodeError as error:
        raise InvalidLabels(f"the labels of {split!r} are bytes: {reason(error)}") from error


def _split_again(values: np.ndarray, by_split: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cut the values of all splits into those of each, as long as its labels."""
    ends = np.cumsum([len(labels) for labels in by_split.values()])
    return dict(zip(by_split, np.split(values, ends[:-1]), strict=True))
