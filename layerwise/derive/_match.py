"""Which layers of two networks are the same."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

__all__ = ["goes_further", "match"]

# A part of a name that is a number, and a name of nothing else.
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.:#])")
_NUMBERS = re.compile(r"[\d.]+(:input)?(#\d+)?")


def match(first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of layers with the same name, or with the same name but for a prefix that is the same for all.

    A model in a model has longer names than the same model alone. The two prefixes are those that bring most pairs
    together, none by preference; layers that are left over pair where their names are equal. Two different names that
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
    found = pairs[best]
    taken = set(found.values())
    equal = {name: name for name in set(first) & set(second) if name not in found and name not in taken}
    return [(name, (found | equal)[name]) for name in first if name in found or name in equal]


def _split(first: str, second: str) -> tuple[tuple[str, str], str]:
    """The prefixes of two names, and the longest run of parts that both end in."""
    one, two = first.split("."), second.split(".")
    count = 0
    while count < min(len(one), len(two)) and one[-1 - count] == two[-1 - count]:
        count += 1
    ends = len(one) - count, len(two) - count
    return (".".join(one[: ends[0]]), ".".join(two[: ends[1]])), ".".join(one[ends[0] :])


def goes_further(names: Sequence[str], chosen: Collection[str]) -> bool:
    """Whether a list of layers, some of them chosen, has members that are not.

    Examples
    --------
    >>> goes_further(["stem", "blocks.0", "blocks.1", "head"], ["stem", "blocks.0"])
    True
    """
    lists = {_list(name) for name in chosen} - {*chosen}
    return any(_list(name) in lists for name in names if name not in chosen)


def _list(name: str) -> str:
    """What a layer is called but for its numbers."""
    return _NUMBER.sub("*", name)
