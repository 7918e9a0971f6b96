"""The difference of two profiles."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from layerwise.arguments import FLAG, checked, choice, optional, whole
from layerwise.derive.align import align
from layerwise.schema import ARGUMENTS, VERSION, is_chance, is_standard_error

__all__ = ["compare"]


@checked(
    ARGUMENTS,
    on=optional(choice("way to compare", ("layers", "depth"))),
    points=optional(whole("a grid has 2 places or more", 2, 10**6)),
    strict=FLAG,
)
def compare(
    a: xr.Dataset,
    b: xr.Dataset,
    *,
    on: Literal["layers", "depth"] | None = None,
    points: int | None = None,
    strict: bool = False,
) -> xr.Dataset:
    """Subtract the first profile from the second, on the layers that both have or else on a common grid of depths.

    `align` chooses the layers, epochs and other labels to compare, and describes them in the attributes of the result.
    A dim that only one of the profiles has (a seed, say) stays.

    Parameters
    ----------
    a, b : Dataset
        Profiles.
    on, points
        As in `align`.
    strict : bool
        Whether to refuse profiles that differ in anything but their networks; otherwise the attribute ``differs``
        records the other differences.

    Returns
    -------
    Dataset
        Differences ``b - a``, itself a profile, with the attributes in which both agree; ``minuend`` and ``subtrahend``
        are the models. A standard error ``<name>_se`` is that of the difference of independent samples,
        ``sqrt(a^2 + b^2)``: it is too wide for two networks on the same samples. Values by chance (``<name>_null``) are
        left out.

    Raises
    ------
    InvalidData
        If they have nothing in common, measure different things, or have unlike targets; if `strict`, and they differ
        in anything but their networks (see `align`).

    Examples
    --------
    >>> import xarray as xr
    >>> layers = {"layer": ["stem", "head"], "depth": ("layer", [0.0, 1.0])}
    >>> a, b = (xr.Dataset({"nc1": ("layer", values)}, layers) for values in ([4.0, 2.0], [4.0, 0.5]))
    >>> compare(a, b)["nc1"].values.tolist()
    [0.0, -1.5]
    """
    a, b = align(a, b, on=on, points=points, strict=strict)
    names = [str(name) for name in a.data_vars if not is_chance(str(name), a)]
    difference = xr.Dataset({name: _difference(a, b, name) for name in names}, attrs=_attributes(a, b))
    return difference.transpose(..., "epoch", "split", "target", "layer", "class", missing_dims="ignore")


def _difference(a: xr.Dataset, b: xr.Dataset, name: str) -> xr.DataArray:
    """Return the difference of one variable; for a standard error, the error of the difference."""
    first, second = a[name].astype(np.float64), b[name].astype(np.float64)
    is_error = is_standard_error(name, a)
    array: xr.DataArray = xr.apply_ufunc(np.hypot, first, second) if is_error else second - first
    array.attrs = a[name].attrs
    return array.assign_attrs(long_name=f"difference in {array.attrs.get('long_name') or name}")


def _attributes(a: xr.Dataset, b: xr.Dataset) -> dict[str, str | int | float]:
    agreed = {str(key): value for key, value in a.attrs.items() if key in b.attrs and b.attrs[key] == value}
    first, second = str(a.attrs.get("model", "")), str(b.attrs.get("model", ""))
    models = {"model": f"{second} - {first}", "subtrahend": first, "minuend": second}
    return {**agreed, "layerwise_schema": VERSION, **models}
