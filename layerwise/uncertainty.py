"""From the same measurement made many times, with some samples left out, to standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from layerwise.assembly import Numbers
from layerwise.metrics import Metric
from layerwise.schema import Variable

__all__ = ["error_variable", "jackknife_errors"]


def error_variable(metric: Metric) -> Variable:
    """What the Dataset says of a metric's standard error."""
    own = metric.variable
    return replace(
        own,
        name=f"{own.name}_se",
        long_name=f"standard error of: {own.long_name}",
        direction="none",
        reference="delete-a-group jackknife (Kott 2001)",
    )


def jackknife_errors(
    metrics: Sequence[Metric], whole: Numbers, without: Sequence[Numbers]
) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Standard error of every metric, ``sqrt((G - 1)/G sum_g (x_g - mean x)^2)``.

    Parameters
    ----------
    metrics : sequence of Metric
    whole : Numbers
        Of all samples.
    without : sequence of Numbers
        The same without each of the ``G`` groups.

    Returns
    -------
    Numbers
        Under the names of the variables of the errors; NaN where the metric is not known without some group.
    """
    found: dict[str, dict[tuple[str, str], np.ndarray]] = {}
    for name in (metric.name for metric in metrics if metric.name in whole):
        of_metric = {}
        for key, value in whole[name].items():
            parts = [part.get(name, {}).get(key, np.full_like(value, np.nan)) for part in without]
            # Of what is infinite without some group nothing is known.
            with np.errstate(invalid="ignore"):
                of_metric[key] = np.sqrt(len(without) - 1) * np.std(parts, axis=0)
        found[f"{name}_se"] = of_metric
    return found
