"""The names of a checkpoint, met with those of a network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from layerwise.errors import LayerwiseError, nearest
from layerwise.runtime.module_paths import clean_name

__all__ = ["Fit", "WeightsMismatch", "best_fit", "some_names"]

# Names by which a network of the same names, under a prefix, is looked for.
_PROBES = 3
_SHOWN = 3


class WeightsMismatch(LayerwiseError, ValueError):
    """Weights that are not those of the network."""


@dataclass(frozen=True)
class Fit:
    """How what lies below a prefix of a checkpoint meets a network.

    Attributes
    ----------
    prefix : str
        What stands before the network's own names.
    pairs : dict of str to str
        The network's names, and the checkpoint's for the same.
    missing, unexpected, reshaped : list of str
        What only the network has, what only the checkpoint has below the prefix, and what has two shapes.
    left_out : list of str
        What only the checkpoint has and the network can do without: a head or a loss, elsewhere or to be ignored.
    kept : list of str
        What only the network has and the checkpoint may lack.
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
        """Whether each finds its other."""
        return not (self.missing or self.unexpected or self.reshaped)


def best_fit(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    what: str,
    *,
    optional: Collection[str] = (),
    ignored: Iterable[str] = (),
) -> Fit:
    """The one way in which a checkpoint fits a network: as it is, or without a prefix that the names of one share.

    Parameters
    ----------
    own, given : mapping of str to Tensor
        State dicts of network and checkpoint. A name of the network may be missing if the same tensor has another.
    what : str
        The checkpoint, in messages.
    optional, ignored : collection of str
        Expressions for names that may be missing, and for those that may be there beside.

    Raises
    ------
    WeightsMismatch
        If there is no such way, or more than one.
    """
    mine, theirs = _cleaned(own), _cleaned(given)
    lacking = [name for name in mine if any(re.search(item, name) for item in optional)]
    beside = [name for name in theirs if any(re.search(item, name) for item in ignored)]
    fits = [_fit(own, mine, given, theirs, prefix, lacking, beside) for prefix in ("", *_prefixes(mine, theirs))]
    for prefix in _prefixes(theirs, mine):
        below = {name.removeprefix(prefix): full for name, full in mine.items()}
        if len(below) == len(mine):
            fits.append(_fit(own, below, given, theirs, "", [name.removeprefix(prefix) for name in lacking], beside))
    whole = [fit for fit in fits if fit.whole]
    if not whole:
        raise WeightsMismatch(_explain(max(fits, key=lambda fit: len(fit.pairs)), own, given, what))
    if len(whole) > 1 and whole[0].prefix:
        names = " and ".join(repr(fit.prefix.rstrip(".")) for fit in whole)
        raise WeightsMismatch(f"{what} has several networks that fit, {names}; save the one that is meant by itself")
    return whole[0]


def _cleaned(names: Iterable[str]) -> dict[str, str]:
    """The names without those of wrappers, to the names as they are; as they are where two would be one."""
    listed = list(names)
    counts = Counter(map(clean_name, listed))
    return {clean_name(name) if counts[clean_name(name)] == 1 else name: name for name in listed}


def _prefixes(mine: Iterable[str], theirs: Collection[str]) -> list[str]:
    """What stands before names of the network in the checkpoint; the names of the largest depth tell it best."""
    probes = sorted(mine, key=lambda name: (-name.count("."), name))[:_PROBES]
    found = [name[: -len(probe)] for probe in probes for name in theirs if name.endswith(f".{probe}")]
    return list(dict.fromkeys(found))


def _fit(
    own: Mapping[str, Tensor],
    mine: Mapping[str, str],
    given: Mapping[str, Tensor],
    theirs: Mapping[str, str],
    prefix: str,
    lacking: Collection[str],
    beside: Collection[str],
) -> Fit:
    below = {name.removeprefix(prefix): name for name in theirs if name.startswith(prefix)}
    pairs = {mine[name]: theirs[below[name]] for name in mine if name in below}
    loaded = {id(own[name]) for name in pairs}
    missing = [name for name in mine if name not in below and id(own[mine[name]]) not in loaded]
    beyond = [full for name, full in below.items() if name not in mine]
    return Fit(
        prefix,
        pairs,
        [name for name in missing if name not in lacking],
        [full for full in beyond if full not in beside],
        [name for name, other in pairs.items() if own[name].shape != given[other].shape],
        [name for name in theirs if not name.startswith(prefix)] + [full for full in beyond if full in beside],
        [name for name in missing if name in lacking],
    )


def _explain(fit: Fit, own: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> str:
    parts = []
    if fit.missing:
        parts.append(f"it lacks {some_names(fit.missing)}")
    if fit.unexpected:
        parts.append(f"the network has no {some_names(fit.unexpected)}")
    if fit.reshaped:
        name = fit.reshaped[0]
        shapes = f"{name} is {tuple(given[fit.pairs[name]].shape)}, the network's {tuple(own[name].shape)}"
        parts.append(f"{len(fit.reshaped)} of another shape ({shapes})")
    near = nearest(fit.missing[0], fit.unexpected) if fit.missing and fit.unexpected else []
    beside = f"; nearest to {fit.missing[0]!r}: {', '.join(near)}" if near else ""
    return f"{what} does not fit the network: {len(fit.pairs)} of {len(own)} names are met; {'; '.join(parts)}{beside}"


def some_names(names: Sequence[str]) -> str:
    """How many names there are, and the first few."""
    shown = ", ".join(map(str, names[:_SHOWN]))
    return f"{len(names)} names ({shown}{', ...' if len(names) > _SHOWN else ''})"
