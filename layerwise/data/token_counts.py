"""Texts without a token, which are left out, and texts that are too long, which are cut: counted beforehand."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from layerwise.data.digest import digest
from layerwise.data.source import Rows, Source
from layerwise.errors import EmptyData

__all__ = ["CountsTokens", "with_tokens"]

# Texts that are counted at once.
_CHUNK = 1_000


@runtime_checkable
class CountsTokens(Protocol):
    """A preparation of raw inputs that knows how many tokens a text has."""

    def longest(self) -> int:
        """The tokens that a text is cut to."""

    def token_counts(self, raw: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of every text, without and with those that are added to each, shape ``(n,)``."""


def with_tokens(source: Source, prepare: CountsTokens) -> Source:
    """The texts that have tokens; how many have none, and how many will be cut, is noted.

    Parameters
    ----------
    source : Source
        Of texts.
    prepare : CountsTokens
        What will prepare them.

    Raises
    ------
    EmptyData
        If no text of a split has a token.
    """
    splits = {}
    for split, rows in source.splits.items():
        own, whole = _counted(rows, prepare)
        # Asked for after the texts were taken: a model without a tokenizer takes none.
        longest = prepare.longest()
        empty, long = int((own == 0).sum()), int((whole > longest).sum())
        if empty == len(rows):
            raise EmptyData(f"split {split!r}: none of {len(rows)} texts has a token")
        if empty:
            source.notes.add(f"split {split!r}: {empty} of {len(rows)} texts have no token and are left out")
        if long:
            source.notes.add(f"split {split!r}: {long} of {len(rows)} texts are cut to {longest} tokens")
        splits[split] = rows.take(np.flatnonzero(own)) if empty else rows
    if all(splits[split] is rows for split, rows in source.splits.items()):
        return source
    kept = [rows.positions for rows in splits.values()]
    return Source(source.name, splits, source.kind, source.classes, digest(source.fingerprint, *kept), source.notes)


def _counted(rows: Rows, prepare: CountsTokens) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for start in range(0, len(rows), _CHUNK):
        places = rows.positions[start : start + _CHUNK]
        found.append(prepare.token_counts([rows.inputs[int(place)] for place in places]))
    own, whole = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return own, whole
