"""Texts as rows of word numbers."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import torch
from torch import Tensor

from layerwise.data import read
from layerwise.studies.data.pictures import Splits
from layerwise.studies.data.places import locate

__all__ = ["PADDING", "load_texts"]

#: Number of a place without a word.
PADDING = 0

_UNKNOWN, _FIRST = 1, 2


def load_texts(name: str, *, words: int = 4000, length: int = 24) -> Splits:
    """All splits of labelled texts; words are numbered by how often the training split has them.

    Parameters
    ----------
    name : str
        A short name, ``"movie-reviews"``, or a data name of `layerwise.data.read`; with options such as
        ``?limit=2000``.
    words : int
        The commonest that have a number of their own; all others share one.
    length : int
        Words of a text that are kept; shorter ones are filled with `PADDING`.

    Returns
    -------
    dict of str to (Tensor, Tensor)
        Numbers ``(n, length)`` below ``words + 2`` and labels ``(n,)``, int64 both.
    """
    source = read(locate(name))
    split_words = {
        split: [re.findall(r"[\w']+", str(rows[place][0]).lower()) for place in range(len(rows))]
        for split, rows in source.splits.items()
    }
    counts = Counter(word for text in split_words["train"] for word in text)
    numbers = {word: _FIRST + place for place, (word, _) in enumerate(counts.most_common(words))}
    return {
        split: (_rows(texts, numbers, length), torch.from_numpy(np.asarray(source.splits[split].labels)))
        for split, texts in split_words.items()
    }


def _rows(texts: list[list[str]], numbers: dict[str, int], length: int) -> Tensor:
    rows = torch.full((len(texts), length), PADDING)
    for row, text in zip(rows, texts, strict=True):
        kept = [numbers.get(word, _UNKNOWN) for word in text[:length]]
        row[: len(kept)] = torch.tensor(kept, dtype=torch.long)
    return rows
