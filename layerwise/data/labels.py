"""Labels as they stand in a file, turned into positions in a tuple of classes, or into numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layerwise.errors import EmptyData, InvalidLabels
from layerwise.runtime.reading_errors import reason

__all__ = ["are_numbers", "encode", "numbers"]

_HINT = "task=regression reads integers, too, as numbers"

# More classes than any data set has: labels beyond are identifiers or measurements.
_MOST = 1_000_000


def encode(
    raw: Mapping[str, np.ndarray], classes: tuple[str, ...] | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Turn the labels of all splits into classes, the same ones in every split.

    Parameters
    ----------
    raw : mapping of str to ndarray
        Labels of every split, shape ``(n,)``. Strings become positions in their sorted order; integers, and
        floats that are whole, keep their values.
    classes : tuple of str, optional
        Names of integer labels; by default their own digits, from 0 to the largest.

    Returns
    -------
    labels : dict of str to ndarray
        Shape ``(n,)``, int64.
    classes : tuple of str
        Name of every class.

    Raises
    ------
    InvalidLabels
        For labels that are missing, negative, no whole numbers, or outside `classes`.
    EmptyData
        For a split without samples.

    Examples
    --------
    >>> encode({"train": np.array(["dog", "cat", "dog"])})
    ({'train': array([1, 0, 1])}, ('cat', 'dog'))
    """
    plain = {split: _plain(split, labels) for split, labels in raw.items()}
    kinds = {labels.dtype.kind for labels in plain.values()}
    together = np.concatenate(list(plain.values()))
    if kinds == {"U"}:
        names, codes = np.unique(together, return_inverse=True)
        return _apart(codes, plain), tuple(names.tolist())
    if "U" in kinds:
        words = [split for split, labels in plain.items() if labels.dtype.kind == "U"]
        raise InvalidLabels(f"the labels of {words} are strings, those of the other splits are numbers")
    if kinds == {"b"}:
        classes = ("False", "True")
    highest = int(together.max())
    if classes is None:
        if highest >= _MOST:
            raise InvalidLabels(f"the label {highest} is no class: at most {_MOST:,} classes, from 0; {_HINT}")
        classes = tuple(map(str, range(highest + 1)))
    if highest >= len(classes):
        raise InvalidLabels(f"the label {highest} is outside the {len(classes)} classes that the data names")
    return _apart(together.astype(np.int64), plain), classes


def are_numbers(raw: Mapping[str, np.ndarray]) -> bool:
    """Whether labels are regression targets by their look: fractions, or several numbers a sample."""
    return any(map(_are_numbers, raw.values()))


def _are_numbers(labels: np.ndarray) -> bool:
    if labels.dtype.kind == "O":
        # Where one is missing, the others may be floats.
        labels = np.array([label for label in labels if isinstance(label, float)])
    if labels.dtype.kind != "f" or labels.size == 0:
        return False
    return np.size(labels[0]) > 1 or bool((np.isfinite(labels) & (labels != np.round(labels))).any())


def numbers(raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The labels of all splits as regression targets, shape ``(n,)`` or ``(n, q)``, float64; NaN where one is missing.

    Raises
    ------
    InvalidLabels
        For labels that are no numbers, or of more axes.
    EmptyData
        For a split without samples.

    Examples
    --------
    >>> numbers({"train": np.array([3, 1])})
    {'train': array([3., 1.])}
    """
    found = {}
    for split, labels in raw.items():
        if labels.size == 0:
            raise EmptyData(f"the split {split!r} has no samples")
        if labels.ndim > 2:
            raise InvalidLabels(f"the labels of {split!r} have shape {labels.shape}; (n,) or (n, q) is needed")
        try:
            found[split] = np.asarray(labels if labels.dtype.kind != "c" else labels.astype(str), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidLabels(f"the labels of {split!r} are no numbers, as regression needs: {error}") from error
    return found


def _plain(split: str, labels: np.ndarray) -> np.ndarray:
    """The labels of a split as strings, booleans or whole numbers from 0, shape ``(n,)``."""
    if labels.size == 0:
        raise EmptyData(f"the split {split!r} has no samples")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InvalidLabels(f"the labels of {split!r} have shape {labels.shape}; one class a sample is needed; {_HINT}")
    if labels.dtype.kind == "O":
        absent = sum(label is None for label in labels)
        if absent:
            raise InvalidLabels(f"{absent} of {len(labels)} labels of {split!r} are missing")
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


def _apart(together: np.ndarray, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    ends = np.cumsum([len(labels) for labels in like.values()])
    return dict(zip(like, np.split(together, ends[:-1]), strict=True))
