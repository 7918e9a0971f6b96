"""How steadily a metric moves with depth."""

from __future__ import annotations

import xarray as xr
from scipy.stats import rankdata

from layerwise.arguments import checked
from layerwise.derive._values import values_over
from layerwise.schema import ARGUMENTS

__all__ = ["monotonicity"]


@checked(ARGUMENTS)
def monotonicity(ds: xr.Dataset, metric: str) -> xr.DataArray:
    """Compute Spearman's correlation of a metric with depth, in ``[-1, 1]``; -1 where the metric falls at every layer.

    Layers without a value are left out; NaN where fewer than two have one, or all have the same.

    Parameters
    ----------
    ds : Dataset
        A profile.
    metric : str
        A variable with layers.

    Returns
    -------
    DataArray
        The correlation, without the dim ``layer``.

    Raises
    ------
    UnknownName
        If there is no such metric.
    SchemaMismatch
        If it does not depend on the layer.

    Examples
    --------
    >>> import xarray as xr
    >>> ds = xr.Dataset({"nc1": ("layer", [9.0, 4.0, 5.0, 1.0])}, {"depth": ("layer", [0.0, 0.3, 0.6, 1.0])})
    >>> round(float(monotonicity(ds, "nc1")), 3)
    -0.8
    """
    values = values_over(ds, metric, "layer")
    depth = xr.zeros_like(values) + range(values.sizes["layer"]) if "depth" not in values.coords else values["depth"]
    correlation = _correlation(_ranks(values), _ranks(depth.where(values.notnull())))
    return correlation.rename(f"{metric}_monotonicity").assign_attrs(
        long_name=f"rank correlation of {metric} with depth",
        units="1",
        direction="none",
        reference=str(values.attrs.get("reference", "")),
    )


def _correlation(one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Return Pearson's correlation along ``layer``, NaN where either does not vary."""
    one, other = (ranks - ranks.sum("layer") / ranks.count("layer") for ranks in (one, other))
    return (one * other).sum("layer") / ((one**2).sum("layer") * (other**2).sum("layer")) ** 0.5


def _ranks(values: xr.DataArray) -> xr.DataArray:
    """Rank the values along ``layer``, with ties averaged and NaN left out."""
    ranks: xr.DataArray = xr.apply_ufunc(
        rankdata,
        values,
        input_core_dims=[["layer"]],
        output_core_dims=[["layer"]],
        kwargs={"axis": -1, "nan_policy": "omit"},
    )
    return ranks
