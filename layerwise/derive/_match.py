"""Pairs of layers that are the same in two networks."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

__all__ = ["goes_further", "match"]

# A part of a name that is a number, and a name that consists of numbers only.
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.:#])")
_NUMBERS = re.compile(r"[\d.]+(:input)?(#\d+)?")


def match(first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of layers whose names are equal once a prefix, one for each network, is taken off.

    A model inside another model has longer names than the same model alone. The two prefixes are those that make the
    most pairs, none by preference; the remaining layers pair where their names are equal. Two different names that
    only end in the same numbers are no pair.

    Returns
    -------
    list of (str, str)
        In the order of `first`; no layer twice.

    Examples
    --------
    >>> match(["embeddings", "encoder.layer.0"], ["bert.embeddings", "bert.encoder.layer.0", "classifier"])
    [('embeddings', 'bert.embeddings'), ('encoder.layer.0', 'bert.encoder.layer.0')]
    """
    by_end: dict[str, list[str]] = {}
    for name in second:
        by_end.setdefault(name.rpartition(".")[2], []).append(name)
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    for name in first:
        for other in by_end.get(name.rpartition(".")[2], ()):
            prefixes, shared = _split(name, other)
            if shared in (name, other) or not _NUMBERS.fullmatch(shared):
                pairs.setdefault(prefixes, {})[name] = other
    if not pairs:
        return []
    best = max(pairs, key=lambda prefixes: (len(pairs[prefixes]), -len("".join(prefixes))))
    partners = pairs[best]
    taken = set(partners.values())
    equal = {name: name for name in set(first) & set(second) if name not in partners and name not in taken}
    partners = partners | equal
    return [(name, partners[name]) for name in first if name in partners]


def _split(first: str, second: str) -> tuple[tuple[str, str], str]:
    """Return the prefixes of two names, and the longest run of parts that both end in."""
    parts, other_parts = first.split("."), second.split(".")
    count = 0
    while count < min(len(parts), len(other_parts)) and parts[-1 - count] == other_parts[-1 - count]:
        count += 1
    ends = len(parts) - count, len(other_parts) - count
    return (".".join(parts[: ends[0]]), ".".join(other_parts[: ends[1]])), ".".join(parts[ends[0] :])


def goes_further(names: Sequence[str], chosen: Collection[str]) -> bool:
    """Whether a list of blocks with chosen members also has members that are not chosen.

    Examples
    --------
    >>> goes_further(["stem", "blocks.0", "blocks.1", "head"], ["stem", "blocks.0"])
    True
    """
    lists = {_list(name) for name in chosen} - {*chosen}
    return any(_list(name) in lists for name in names if name not in chosen)


def _list(name: str) -> str:
    """Return a layer's name with its numbers replaced: the list that it belongs to."""
    return _NUMBER.sub("*", name)
