"""Two profiles brought to common layers or depths, and to common labels."""

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

# Attributes that change the meaning of metrics of the same name.
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

    Only variables, epochs, splits, targets and classes that both have are kept. If both profiles have one epoch, these
    are compared whatever their labels are; the result has the label of the second.

    Layers are the same where their names are, or where the names of one network are those of the other behind a prefix
    (``encoder.layer.3``, ``bert.encoder.layer.3``). They must be at least half of the shorter network, and neither list
    of blocks may go on where the other ends: a deeper network of the same family has the same names too, but at other
    depths. Networks whose layers are not the same are brought to the same depths.

    Parameters
    ----------
    a, b : Dataset
        Profiles.
    on : {"layers", "depth"}, optional
        Compare on these, whatever the layers are.
    points : int, optional
        Size of the grid of depths, between whose places values are interpolated linearly; by default the number of
        layers of the longer network.
    strict : bool
        Whether to refuse profiles that differ in anything but their networks: targets, splits, samples, data,
        preprocessing, pooling, and settings that change numbers.

    Returns
    -------
    tuple of Dataset
        Both, with the same labels. Layers have their names and coordinates of `a`; their names in `b` are the
        coordinate ``other_layer``, their pooling there ``other_reduction``. The attribute ``compared_on`` is
        ``"layers"``, ``"layers, by the ends of their names"`` or ``"depth"``; layers that only one profile has are in
        ``left_out``, as JSON. Further differences of the profiles are in ``differs``, as JSON: by name, the value in
        the first and in the second; the attribute is absent if there are none.

    Raises
    ------
    InvalidData
        If they have no variable, split, target or epoch in common, or no layer where layers were asked for; if they
        follow different conventions, or only one is debiased or standardises the targets; if targets of the same name
        differ in kind or in classes; if `strict`, and they differ in anything but their networks.
    UnknownName
        If `on` is something else.
    """
    for name in _DEFINING:
        first, second = a.attrs.get(name), b.attrs.get(name)
        if None not in (first, second) and first != second:
            raise InvalidData(
                f"the profiles measure different things: {name} is {first!r} in one, {second!r} in the other"
            )
    refuse_targets(a, b)
    if strict:
        refuse_any(a, b)
    unlike = differences(a, b)
    differs = {"differs": json.dumps(unlike)} if unlike else {}
    shared = [name for name, array in a.data_vars.items() if name in b.data_vars and array.dtype.kind in "fiub"]
    metrics = [[name for name, array in ds.data_vars.items() if "layer" in array.dims] for ds in (a, b)]
    if any(set(shared).isdisjoint(names) for names in metrics):
        raise InvalidData(f"the profiles have no metric in common: {shortened(metrics[0])}; {shortened(metrics[1])}")
    a, b = a[shared], b[shared]
    pairs = None if on == "depth" else _pairs(a, b, any_share=on == "layers")
    if pairs is None:
        grid = np.linspace(0, 1, points or max(a.sizes["layer"], b.sizes["layer"]))
        a_aligned, b_aligned, attributes = at_depths(a, grid), at_depths(b, grid), {"compared_on": "depth"}
    else:
        a_aligned, b_aligned = at_layers(a, b, pairs)
        attributes = _compared_on(pairs, a, b)
    attributes |= differs
    return at_labels(a_aligned.assign_attrs(a.attrs | attributes), b_aligned.assign_attrs(b.attrs | attributes))


def _pairs(a: xr.Dataset, b: xr.Dataset, *, any_share: bool) -> list[tuple[str, str]] | None:
    """Return the layers to compare, however few they are if `any_share`; None where only depth compares them."""
    first, second = _names(a), _names(b)
    pairs = match(first, second)
    if any_share:
        if not pairs:
            raise InvalidData(f"the profiles have no layer in common: {shortened(first)}; {shortened(second)}")
        return pairs
    most = 2 * len(pairs) >= min(len(first), len(second))
    deeper = goes_further(first, {name for name, _ in pairs}) or goes_further(second, {other for _, other in pairs})
    return pairs if pairs and most and not deeper else None


def _compared_on(pairs: list[tuple[str, str]], a: xr.Dataset, b: xr.Dataset) -> dict[str, str]:
    """Return the attributes of the result that describe its layers."""
    firsts, seconds = {name for name, _ in pairs}, {other for _, other in pairs}
    left_out = {
        "first": [name for name in _names(a) if name not in firsts],
        "second": [name for name in _names(b) if name not in seconds],
    }
    equal = all(name == other for name, other in pairs)
    return {
        "compared_on": "layers" if equal else "layers, by the ends of their names",
        "left_out": json.dumps(left_out),
    }


def _names(ds: xr.Dataset) -> list[str]:
    return [str(name) for name in ds["layer"].values]
