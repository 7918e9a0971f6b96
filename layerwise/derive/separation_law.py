"""The law of separation: every layer separates the classes by the same factor."""

from __future__ import annotations

import numpy as np
import xarray as xr

from layerwise.arguments import FLAG, checked
from layerwise.derive._values import values_over
from layerwise.schema import ARGUMENTS

__all__ = ["separation_law"]


@checked(ARGUMENTS, every=FLAG)
def separation_law(ds: xr.Dataset, *, every: bool = False) -> xr.Dataset:
    """Fit a least-squares line of `separation` against the layer index: ``log10 D_l = intercept + slope l``.

    The law is about the steps that a network takes between its input and its classifier. He & Su count all hidden
    layers up to the last features. Two layers are no such steps, and by default not fitted: the logits, a linear map of
    the features; and the classifier's input where no block makes it (``fc:input``), which is the last block's output,
    pooled or normalised. To fit only some layers, pass ``ds.sel(layer=...)``.

    Layers without a finite value keep their place in the count, and are not fitted.

    Parameters
    ----------
    ds : Dataset
        A profile.
    every : bool
        Whether to fit every layer in `ds`, these two included.

    Returns
    -------
    Dataset
        ``slope`` (per layer, negative where layers separate), ``intercept`` (at the first layer), ``rate``
        (``10**slope``, the factor by which a layer shrinks the separation fuzziness), ``r_squared`` in ``[0, 1]`` (NaN
        where `separation` is the same in all layers) and ``fitted`` (the number of layers on the line: with two of them
        ``r_squared`` is 1 whatever they are). NaN where fewer than two layers have a value.

    Raises
    ------
    UnknownName
        If the profile has no `separation`.

    References
    ----------
    He & Su 2022, A law of data separation in deep learning (arXiv:2210.17020).

    Examples
    --------
    >>> import xarray as xr
    >>> line = separation_law(xr.Dataset({"separation": ("layer", [1.0, 0.5, 0.0])}))
    >>> float(line["slope"]), float(line["r_squared"])
    (-0.5, 1.0)
    """
    values = values_over(ds, "separation", "layer")
    if not every:
        values = values.isel(layer=steps(values))
    known: xr.DataArray = xr.apply_ufunc(np.isfinite, values)
    y = values.where(known)
    x = xr.DataArray(np.arange(values.sizes["layer"], dtype=np.float64), dims="layer").where(known)
    dx, dy = x - x.mean("layer"), y - y.mean("layer")
    enough = known.sum("layer") > 1
    slope = ((dx * dy).sum("layer") / (dx**2).sum("layer")).where(enough)
    varies = y.max("layer") > y.min("layer")
    squared = (slope * (dx * dy).sum("layer") / (dy**2).sum("layer")).where(enough & varies)
    intercept = y.mean("layer") - slope * x.mean("layer")
    return xr.Dataset(
        {
            "slope": slope.assign_attrs(_describe("slope of log10 separation fuzziness", "1/layer", "down")),
            "intercept": intercept.assign_attrs(_describe("log10 separation fuzziness at layer 0", "1", "none")),
            "rate": (10**slope).assign_attrs(_describe("factor of separation fuzziness per layer", "1", "down")),
            "r_squared": squared.clip(0, 1).assign_attrs(_describe("R^2 of the law of separation", "1", "none")),
            "fitted": known.sum("layer").assign_attrs(_describe("layers on the line", "layers", "none")),
        },
        attrs={"reference": "He & Su 2022"},
    )


def steps(array: xr.DataArray) -> np.ndarray:
    """Return a mask of the layers that are steps from the input to the classifier; all where roles are unknown."""
    if "role" not in array.coords:
        return np.ones(array.sizes["layer"], dtype=bool)
    pairs = zip(array["role"].values, array["layer"].values, strict=True)
    return np.array([role != "logits" and not (role == "features" and ":input" in str(name)) for role, name in pairs])


def _describe(long_name: str, units: str, direction: str) -> dict[str, str]:
    return {"long_name": long_name, "units": units, "direction": direction, "reference": "He & Su 2022"}
