"""The usual names of splits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

__all__ = ["SPLITS", "split_named", "with_train"]

T = TypeVar("T")

_USUAL = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst"),
}
#: The splits, in the order in which they are listed.
SPLITS = tuple(_USUAL)

_SPLIT_OF = {name: split for split, names in _USUAL.items() for name in names}
_ENDING = re.compile(r"[ _.-]*(sets?|splits?|data|images?|imgs?)$")


def split_named(name: str) -> str | None:
    """Return the split that a name means, in upper or lower case, with or without ``set``; None for other names.

    Examples
    --------
    >>> [split_named(name) for name in ("Training", "test_set", "dev", "trains")]
    ['train', 'test', 'val', None]
    """
    lowered = name.lower()
    return _SPLIT_OF.get(lowered) or _SPLIT_OF.get(_ENDING.sub("", lowered))


def with_train(splits: Mapping[str, T]) -> dict[str, T]:
    """Rename the split that means ``train`` to that name, if there is exactly one.

    Examples
    --------
    >>> with_train({"Training": 1, "validation": 2})
    {'train': 1, 'validation': 2}
    """
    named = [name for name in splits if split_named(name) == "train"]
    if len(named) != 1:
        return dict(splits)
    return {"train" if name == named[0] else name: value for name, value in splits.items()}
