"""Confidence intervals of metrics, from groups of samples."""

from __future__ import annotations

import xarray as xr
from scipy import stats

from layerwise.arguments import checked, fraction
from layerwise.errors import UnknownName
from layerwise.schema import ARGUMENTS, JACKKNIFE

__all__ = ["interval", "with_interval"]


@checked(ARGUMENTS, level=fraction("an interval holds a share of cases between 0 and 1, 0.95 is usual"))
def interval(ds: xr.Dataset, metric: str, level: float = 0.95) -> xr.Dataset:
    """Compute a confidence interval of a metric that covers its value with and without the bias of few samples.

    The interval runs from ``min(x, x - bias) - t se`` to ``max(x, x - bias) + t se``, with Student's ``t`` of ``G - 1``
    degrees of freedom for ``G`` groups. It is for the limit of ever more samples. The bias may be many standard errors,
    and is itself no better known than they are, so that the interval contains both values.

    Parameters
    ----------
    ds : Dataset
        A profile with ``jackknife=G``, or the difference of two (`compare`).
    metric : str
        A variable with a standard error from groups of samples.
    level : float
        The share of intervals that contain the limit, in ``(0, 1)``.

    Returns
    -------
    Dataset
        ``low`` and ``high``, with the metric's dims; NaN where the standard error is NaN.

    Raises
    ------
    UnknownName
        If the profile has no such metric with a standard error from groups of samples.
    InvalidData
        If the level is no share.

    References
    ----------
    Kott 2001, The delete-a-group jackknife (J. Official Statistics 17, 521); Quenouille 1956, Notes on bias in
    estimation (doi:10.1093/biomet/43.3-4.353).

    Examples
    --------
    >>> import xarray as xr
    >>> from layerwise.schema import JACKKNIFE
    >>> values = {"nc1": 0.3, "nc1_se": ((), 0.01, {"reference": JACKKNIFE}), "nc1_bias": -0.05}
    >>> ends = interval(xr.Dataset(values, attrs={"jackknife": 10}), "nc1")
    >>> print(f"{float(ends.low):.3f} to {float(ends.high):.3f}")
    0.277 to 0.373
    """
    available = with_interval(ds)
    if metric not in available:
        raise UnknownName("metric with an interval", metric, available, "jackknife=10 measures what it takes")
    value, error = ds[metric], ds[f"{metric}_se"]
    corrected = value - ds[f"{metric}_bias"] if f"{metric}_bias" in ds else value
    reach = float(stats.t.ppf((1 + level) / 2, int(ds.attrs["jackknife"]) - 1)) * error
    edges = {
        "low": corrected.where(corrected < value, value) - reach,
        "high": corrected.where(corrected > value, value) + reach,
    }
    description = f"end of the {100 * level:g}% interval of {metric}"
    return xr.Dataset(
        {name: edge.assign_attrs(value.attrs, long_name=f"{name} {description}") for name, edge in edges.items()}
    )


def with_interval(ds: xr.Dataset) -> list[str]:
    """Return the metrics of a profile whose standard errors are from groups of samples."""
    errors = [str(name) for name, array in ds.data_vars.items() if array.attrs.get("reference") == JACKKNIFE]
    names = [name.removesuffix("_se") for name in errors if name.endswith("_se")]
    return [name for name in names if name in ds] if "jackknife" in ds.attrs else []
