"""Counts of texts that have no token and are left out, and of texts that are too long and are cut."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from layerwise.data.digest import digest
from layerwise.data.source import Rows, Source
from layerwise.errors import EmptyData

__all__ = ["CountsTokens", "with_tokens"]

# Texts that are tokenised at once.
_CHUNK = 1_000


@runtime_checkable
class CountsTokens(Protocol):
    """A preparation of raw inputs that can count the tokens of texts."""

    def longest(self) -> int:
        """Return the largest number of tokens of a text; longer texts are cut."""

    def token_counts(self, raw: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of tokens of every text, without and with special tokens, shape ``(n,)`` each."""


def with_tokens(source: Source, prepare: CountsTokens) -> Source:
    """Leave out texts without tokens; add notes with the number of these, and of texts that will be cut.

    Parameters
    ----------
    source : Source
        Data of texts.
    prepare : CountsTokens
        The preparation of these texts.

    Raises
    ------
    EmptyData
        If no text of a split has a token.
    """
    splits = {}
    for split, rows in source.splits.items():
        tokens, with_special = _token_counts(rows, prepare)
        # After `token_counts`, which raises the better error for a model that takes no texts.
        longest = prepare.longest()
        empty, long = int((tokens == 0).sum()), int((with_special > longest).sum())
        if empty == len(rows):
            raise EmptyData(f"split {split!r}: none of {len(rows)} texts has a token")
        if empty:
            source.notes.add(f"split {split!r}: {empty} of {len(rows)} texts have no token and are left out")
        if long:
            source.notes.add(f"split {split!r}: {long} of {len(rows)} texts are cut to {longest} tokens")
        splits[split] = rows.take(np.flatnonzero(tokens)) if empty else rows
    if all(splits[split] is rows for split, rows in source.splits.items()):
        return source
    kept = [rows.positions for rows in splits.values()]
    return Source(source.name, splits, source.kind, source.classes, digest(source.fingerprint, *kept), source.notes)


def _token_counts(rows: Rows, prepare: CountsTokens) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of all texts of a split, taken in chunks."""
    chunks = []
    for start in range(0, len(rows), _CHUNK):
        places = rows.positions[start : start + _CHUNK]
        chunks.append(prepare.token_counts([rows.inputs[int(place)] for place in places]))
    tokens, with_special = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return tokens, with_special
