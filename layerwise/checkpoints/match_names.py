"""Matching of the names in a checkpoint with those of a network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from layerwise.errors import LayerwiseError, listed, nearest
from layerwise.runtime.module_paths import clean_name

__all__ = ["Fit", "WeightsMismatch", "best_fit"]

# Names of the network by which prefixes in the checkpoint are found.
_PROBES = 3
# Names that a message lists.
_SHOWN = 3


class WeightsMismatch(LayerwiseError, ValueError):
    """Weights that are not those of the network."""


@dataclass(frozen=True)
class Fit:
    """A match of the names below a prefix of a checkpoint with those of a network.

    Attributes
    ----------
    prefix : str
        Prefix of the network's names in the checkpoint.
    pairs : dict of str to str
        The checkpoint's name for each name of the network.
    missing, unexpected, reshaped : list of str
        Names that only the network has, that only the checkpoint has below the prefix, and whose shapes differ.
    left_out : list of str
        Names that only the checkpoint has and the network does not need: outside of the prefix, or to be ignored.
    kept : list of str
        Names that only the network has and that are optional.
    """

    prefix: str
    pairs: Mapping[str, str]
    missing: Sequence[str]
    unexpected: Sequence[str]
    reshaped: Sequence[str]
    left_out: Sequence[str]
    kept: Sequence[str] = ()

    @property
    def whole(self) -> bool:
        """Whether all names and shapes match."""
        return not (self.missing or self.unexpected or self.reshaped)


def best_fit(
    weights: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    what: str,
    *,
    optional: Collection[str] = (),
    ignored: Iterable[str] = (),
) -> Fit:
    """Find the only match of a checkpoint with a network, with or without a prefix that the names of one share.

    Parameters
    ----------
    weights, given : mapping of str to Tensor
        State dicts of network and checkpoint. A name of the network may be missing if another name has the same tensor.
    what : str
        Name of the checkpoint in messages.
    optional, ignored : collection of str
        Expressions for names that may be missing from the checkpoint, and for names that it may have in addition.

    Raises
    ------
    WeightsMismatch
        If there is no match, or more than one.
    """
    ours, theirs = _cleaned(weights), _cleaned(given)
    may_lack = [name for name in ours if any(re.search(item, name) for item in optional)]
    surplus = [name for name in theirs if any(re.search(item, name) for item in ignored)]
    fits = [_fit(weights, ours, given, theirs, prefix, may_lack, surplus) for prefix in ("", *_prefixes(ours, theirs))]
    for prefix in _prefixes(theirs, ours):
        below = {name.removeprefix(prefix): full for name, full in ours.items()}
        if len(below) == len(ours):
            may_lack_below = [name.removeprefix(prefix) for name in may_lack]
            fits.append(_fit(weights, below, given, theirs, "", may_lack_below, surplus))
    whole = [fit for fit in fits if fit.whole]
    if not whole:
        raise WeightsMismatch(_explain(max(fits, key=lambda fit: len(fit.pairs)), weights, given, what))
    if len(whole) > 1 and whole[0].prefix:
        names = " and ".join(repr(fit.prefix.rstrip(".")) for fit in whole)
        raise WeightsMismatch(f"{what} has several networks that fit, {names}; save the one that is meant by itself")
    return whole[0]


def _cleaned(names: Iterable[str]) -> dict[str, str]:
    """Map names without the parts of wrappers to the full names; a name that would be ambiguous stays."""
    full_names = list(names)
    counts = Counter(map(clean_name, full_names))
    return {clean_name(name) if counts[clean_name(name)] == 1 else name: name for name in full_names}


def _prefixes(ours: Iterable[str], theirs: Collection[str]) -> list[str]:
    """Return the prefixes of the network's names in the checkpoint, from the deepest names, which are most distinct."""
    probes = sorted(ours, key=lambda name: (-name.count("."), name))[:_PROBES]
    prefixes = [name[: -len(probe)] for probe in probes for name in theirs if name.endswith(f".{probe}")]
    return list(dict.fromkeys(prefixes))


def _fit(
    weights: Mapping[str, Tensor],
    ours: Mapping[str, str],
    given: Mapping[str, Tensor],
    theirs: Mapping[str, str],
    prefix: str,
    may_lack: Collection[str],
    surplus: Collection[str],
) -> Fit:
    below = {name.removeprefix(prefix): name for name in theirs if name.startswith(prefix)}
    pairs = {ours[name]: theirs[below[name]] for name in ours if name in below}
    loaded = {id(weights[name]) for name in pairs}
    missing = [name for name in ours if name not in below and id(weights[ours[name]]) not in loaded]
    unmatched = [full for name, full in below.items() if name not in ours]
    return Fit(
        prefix,
        pairs,
        [name for name in missing if name not in may_lack],
        [full for full in unmatched if full not in surplus],
        [name for name, other in pairs.items() if weights[name].shape != given[other].shape],
        [name for name in theirs if not name.startswith(prefix)] + [full for full in unmatched if full in surplus],
        [name for name in missing if name in may_lack],
    )


def _explain(fit: Fit, weights: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> str:
    """Return the message for the best match that is not whole."""
    parts = []
    if fit.missing:
        parts.append(f"it lacks {listed(fit.missing, _SHOWN)}")
    if fit.unexpected:
        parts.append(f"the network has no {listed(fit.unexpected, _SHOWN)}")
    if fit.reshaped:
        name = fit.reshaped[0]
        shapes = f"{name} is {tuple(given[fit.pairs[name]].shape)}, the network's {tuple(weights[name].shape)}"
        parts.append(f"{len(fit.reshaped)} of another shape ({shapes})")
    near = nearest(fit.missing[0], fit.unexpected) if fit.missing and fit.unexpected else []
    hint = f"; nearest to {fit.missing[0]!r}: {', '.join(near)}" if near else ""
    matched = f"{len(fit.pairs)} of {len(weights)} names are met"
    return f"{what} does not fit the network: {matched}; {'; '.join(parts)}{hint}"
