"""Splits by their usual names, in any case."""

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
#: The splits in the order in which they are told.
SPLITS = tuple(_USUAL)

_SPLIT_OF = {name: split for split, names in _USUAL.items() for name in names}
_ENDING = re.compile(r"[ _.-]*(sets?|splits?|data|images?|imgs?)$")


def split_named(name: str) -> str | None:
    """The split that a name stands for, in any case and with or without ``set``; None for any other name.

    Examples
    --------
    >>> [split_named(name) for name in ("Training", "test_set", "dev", "trains")]
    ['train', 'test', 'val', None]
    """
    lowered = name.lower()
    return _SPLIT_OF.get(lowered) or _SPLIT_OF.get(_ENDING.sub("", lowered))


def with_train(splits: Mapping[str, T]) -> dict[str, T]:
    """The splits, the one that can only be the training split under the name ``train``.

    Examples
    --------
    >>> with_train({"Training": 1, "validation": 2})
    {'train': 1, 'validation': 2}
    """
    named = [name for name in splits if split_named(name) == "train"]
    if len(named) != 1:
        return dict(splits)
    return {"train" if name == named[0] else name: value for name, value in splits.items()}
