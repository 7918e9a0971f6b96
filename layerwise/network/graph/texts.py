"""Decide which inputs of equal length belong to one text: an encoder's and a decoder's may be equally long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from layerwise.network.graph.variations import Extent

__all__ = ["texts_of"]

# With more inputs than this, only groups with a word in common are tried.
_MOST_INPUTS = 6


def texts_of(extent: Extent, names: Sequence[str], changes: Callable[[Extent], bool]) -> list[Extent]:
    """Split the inputs that share a length into the texts that they belong to; one text stays whole.

    Two groups of inputs are two texts if the network runs, with other shapes, when either alone becomes shorter.

    Parameters
    ----------
    extent : Extent
    names : sequence of str
        Names of the inputs' tensors, in the order of `layerwise.runtime.tensors.tensors_of`.
    changes : callable
        Returns whether the network runs, with other shapes, when an extent is made smaller.
    """
    masks = {place for place in extent.axes if place < len(names) and names[place] in extent.masks}
    for group in _groups(extent, names, masks):
        parts = [_part(extent, names, group), _part(extent, names, set(extent.axes) - group)]
        if all(map(changes, parts)):
            return [text for part in parts for text in texts_of(part, names, changes)]
    return [extent]


def _part(extent: Extent, names: Sequence[str], places: set[int]) -> Extent:
    masks = tuple(names[place] for place in extent.axes if place in places and place < len(names))
    axes = {place: axes for place, axes in extent.axes.items() if place in places}
    return Extent(axes, tuple(name for name in masks if name in extent.masks))


def _groups(extent: Extent, names: Sequence[str], masks: set[int]) -> Iterator[set[int]]:
    """Yield groups of inputs that may be a text of their own, those with a word in common first.

    Both the group and the rest have an input that is no mask.
    """
    whole = set(extent.axes)
    if len(whole - masks) < 2 or any(len(axes) > 1 for axes in extent.axes.values()):
        return
    words = {place: set(names[place].split("_")) if place < len(names) else set() for place in whole}
    tried: list[set[int]] = []
    shared = ({place for place in whole if word in words[place]} for word in sorted(set().union(*words.values())))
    for group in [*shared, *(_all_groups(whole) if len(masks) > 1 and len(whole) <= _MOST_INPUTS else ())]:
        known = group in tried or whole - group in tried
        if group - masks and whole - group - masks and not known:
            tried.append(group)
            yield group


def _all_groups(places: set[int]) -> Iterator[set[int]]:
    for count in range(2, len(places) // 2 + 1):
        yield from map(set, combinations(sorted(places), count))
