"""Two profiles side by side."""

from __future__ import annotations

import json
from typing import Literal

import numpy as np
import xarray as xr

from layerwise.arguments import FLAG, checked, choice, optional, whole
from layerwise.derive._match import goes_further, match
from layerwise.derive._places import at_depths, at_labels, at_layers, shortened
from layerwise.derive._unlike import differences, refuse_any, refuse_targets
from layerwise.errors import InvalidData
from layerwise.schema import ARGUMENTS

__all__ = ["align"]

# Attributes that give metrics of the same name another meaning.
_DEFINING = ("convention", "debiased", "standardize")


@checked(
    ARGUMENTS,
    on=optional(choice("way to compare", ("layers", "depth"))),
    points=optional(whole("a grid has 2 places or more", 2, 10**6)),
    strict=FLAG,
)
def align(
    a: xr.Dataset,
    b: xr.Dataset,
    *,
    on: Literal["layers", "depth"] | None = None,
    points: int | None = None,
    strict: bool = False,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Bring two profiles to the layers that both have, or else to a common grid of depths.

    Only variables, epochs, splits, targets and classes that both have are kept. Of two profiles of one epoch each, both
    are kept whatever their epochs are called, under the name that the second has.

    Layers are the same where their names are, or where the names of one network are those of the other behind a prefix
    (``encoder.layer.3``, ``bert.encoder.layer.3``), provided that they are at least half of the shorter network and
    that neither list of blocks goes on where the other ends: a deeper network of the same family has the same names
    too, but at other depths. Networks whose layers are not the same are brought to the same depths.

    Parameters
    ----------
    a, b : Dataset
        Profiles.
    on : {"layers", "depth"}, optional
        Take these, whatever the layers are.
    points : int, optional
        Size of the grid of depths, between whose places values are interpolated linearly; by default the number of
        layers of the longer network.
    strict : bool
        Whether to refuse profiles that differ in anything but their networks: targets, splits, samples, data, how it
        was prepared, how layers were pooled, and settings that change numbers.

    Returns
    -------
    tuple of Dataset
        Both, with the same labels. Layers have the names and coordinates that they have in `a`, and their names in `b`
        as the coordinate ``other_layer``, how they are pooled there as ``other_reduction``. The attribute
        ``compared_on`` is ``"layers"``, ``"layers, by the ends of their names"`` or ``"depth"``; layers that only one
        profile has are in ``left_out``, as JSON. What else the profiles differ in is in ``differs``, as JSON: by what
        it is called, how it is in the first and in the second; absent where all is alike.

    Raises
    ------
    InvalidData
        If they have no variable, split, target or epoch in common, or no layer where layers were asked for; if they
        follow different conventions, or if only one is debiased or standardises the targets; if a target of one name
        is of another kind, or of other classes; if `strict`, and they differ in anything but their networks.
    UnknownName
        If `on` is something else.
    """
    for name in _DEFINING:
        own = a.attrs.get(name), b.attrs.get(name)
        if None not in own and own[0] != own[1]:
            raise InvalidData(
                f"the profiles measure different things: {name} is {own[0]!r} in one, {own[1]!r} in the other"
            )
    refuse_targets(a, b)
    if strict:
        refuse_any(a, b)
    unlike = differences(a, b)
    differs = {"differs": json.dumps(unlike)} if unlike else {}
    shared = [name for name, array in a.data_vars.items() if name in b.data_vars and array.dtype.kind in "fiub"]
    of_layers = [[name for name, array in ds.data_vars.items() if "layer" in array.dims] for ds in (a, b)]
    if any(set(shared).isdisjoint(names) for names in of_layers):
        one, other = map(shortened, of_layers)
        raise InvalidData(f"the profiles have no metric in common: {one}; {other}")
    a, b = a[shared], b[shared]
    pairs = None if on == "depth" else _pairs(a, b, whatever=on == "layers")
    if pairs is None:
        grid = np.linspace(0, 1, points or max(a.sizes["layer"], b.sizes["layer"]))
        first, second, said = at_depths(a, grid), at_depths(b, grid), {"compared_on": "depth"}
    else:
        first, second = at_layers(a, b, pairs)
        said = _compared_on(pairs, a, b)
    said |= differs
    return at_labels(first.assign_attrs(a.attrs | said), second.assign_attrs(b.attrs | said))


def _pairs(a: xr.Dataset, b: xr.Dataset, *, whatever: bool) -> list[tuple[str, str]] | None:
    """The layers to compare, or None where only depth compares them."""
    first, second = _names(a), _names(b)
    pairs = match(first, second)
    if whatever:
        if not pairs:
            raise InvalidData(f"the profiles have no layer in common: {shortened(first)}; {shortened(second)}")
        return pairs
    most = 2 * len(pairs) >= min(len(first), len(second))
    deeper = goes_further(first, {one for one, _ in pairs}) or goes_further(second, {two for _, two in pairs})
    return pairs if pairs and most and not deeper else None


def _compared_on(pairs: list[tuple[str, str]], a: xr.Dataset, b: xr.Dataset) -> dict[str, str]:
    """What the result says of its layers."""
    firsts, seconds = {one for one, _ in pairs}, {two for _, two in pairs}
    alone = {
        "first": [name for name in _names(a) if name not in firsts],
        "second": [name for name in _names(b) if name not in seconds],
    }
    equal = all(one == two for one, two in pairs)
    return {
        "compared_on": "layers" if equal else "layers, by the ends of their names",
        "left_out": json.dumps(alone),
    }


def _names(ds: xr.Dataset) -> list[str]:
    return [str(name) for name in ds["layer"].values]
