"""Per-class variables averaged over frequent and over rare classes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import xarray as xr

from layerwise.arguments import anything, checked, either, number, several
from layerwise.errors import InvalidData, UnknownName
from layerwise.schema import ARGUMENTS, is_standard_error

__all__ = ["by_class_size"]

_SIZE = number("", 0)
_EDGES = either("edges of groups are a list of sizes", anything("", lambda value: value == ()), several("", _SIZE))


@checked(ARGUMENTS, edges=_EDGES)
def by_class_size(ds: xr.Dataset, edges: Sequence[float] = ()) -> xr.Dataset:
    """Average every per-class variable over classes of like size.

    The size of a class is its number of samples in the split ``train``, or the first where there is none. Every class
    counts once in its group. A standard error is that of the average of independent classes, ``sqrt(sum se^2) / k``.

    Parameters
    ----------
    ds : Dataset
        A profile with `class_count`.
    edges : sequence of float
        Sizes at which one group ends and the next begins, ascending: ``(20, 100)`` gives the few-, medium- and
        many-shot classes of long-tailed recognition. By default there are two groups, ``minority`` below the average
        size and ``majority``, as `minority_cosine` and `majority_cosine` have them.

    Returns
    -------
    Dataset
        The per-class variables with the dim ``group``, from rare to frequent, in place of ``class``; NaN in a group
        without classes. ``classes`` is the number of classes in each group.

    Raises
    ------
    UnknownName
        If the profile has no `class_count`.
    InvalidData
        If the edges do not ascend.
    """
    per_class = {str(name): array for name, array in ds.data_vars.items() if "class" in array.dims}
    if "class_count" not in per_class:
        hint = "Measure it with per-class variables such as 'class_norm' and 'class_ncc_error'"
        raise UnknownName("metric", "class_count", map(str, ds.data_vars), hint=hint)
    if list(edges) != sorted(set(edges)):
        raise InvalidData(f"edges of groups ascend, these do not: {list(edges)}")
    split = "train" if "train" in ds["split"].values else ds["split"].values[0]
    # The largest count over layers: coarse layers have fewer pixels, and some leave out samples that are not finite.
    size = per_class["class_count"].sel(split=split).max(["layer", "epoch"])
    bounds = [size.mean("class")] if not len(edges) else [xr.DataArray(float(edge)) for edge in edges]
    number = sum((size >= bound).astype(int) for bound in bounds)
    names = ["minority", "majority"] if not len(edges) else _names(edges)
    members = [(number == place) & size.notnull() for place in range(len(names))]
    group = xr.DataArray(names, dims="group", name="group")
    averages = {
        name: xr.concat(
            [_average(array.where(member), errors=is_standard_error(name, per_class)) for member in members], group
        )
        .transpose(*("group" if dim == "class" else dim for dim in array.dims))
        .assign_attrs(array.attrs)
        for name, array in per_class.items()
    }
    counts = xr.concat([member.sum("class") for member in members], group)
    averages["classes"] = counts.assign_attrs(
        long_name="classes in the group", units="1", direction="none", reference=""
    )
    kept = {name: array for name, array in ds.coords.items() if "class" not in array.dims}
    return xr.Dataset(averages, coords={"group": names}, attrs=ds.attrs).assign_coords(kept)


def _average(values: xr.DataArray, *, errors: bool) -> xr.DataArray:
    """Return the mean over classes that have a value, or the error of such a mean."""
    if not errors:
        return values.mean("class")
    count = values.notnull().sum("class")
    root: xr.DataArray = (values**2).sum("class") ** 0.5
    return root / count.where(count > 0)


def _names(edges: Sequence[float]) -> list[str]:
    middle = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g}", *middle, f"{edges[-1]:g} and above"]
