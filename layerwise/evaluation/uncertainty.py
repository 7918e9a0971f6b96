"""Standard errors, biases and chance, from the replicates of a measurement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from layerwise.evaluation.dataset import Numbers
from layerwise.metrics import Metric
from layerwise.schema import JACKKNIFE, Variable

__all__ = ["error_variable", "jackknife", "under_chance", "variables_of", "with_bias", "with_chance", "with_error"]

# With 39 draws, one value in 40 lies beyond each edge of a band of 95%.
_ONE_BEYOND = 40


def with_error(metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics that have a standard error."""
    return [metric for metric in metrics if metric.has_standard_error]


def with_bias(metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics whose bias is measured."""
    return [metric for metric in metrics if metric.has_bias]


def with_chance(metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics that are measured under shuffled labels."""
    return [metric for metric in metrics if metric.has_chance]


def variables_of(metrics: Sequence[Metric], *, errors: bool, chance: bool) -> list[Variable]:
    """Return the variables of the metrics, and of their standard errors, biases and chance where these are measured."""
    variables = [metric.variable for metric in metrics]
    if errors:
        variables += [error_variable(metric.variable) for metric in with_error(metrics)]
        variables += [_from_groups(metric.variable, "_bias", "bias by few samples") for metric in with_bias(metrics)]
    return variables + [variable for metric in with_chance(metrics) if chance for variable in _chance_variables(metric)]


def error_variable(variable: Variable) -> Variable:
    """Return the variable of the standard error of a variable."""
    return _from_groups(variable, "_se", "standard error")


def _from_groups(variable: Variable, suffix: str, what: str) -> Variable:
    long_name = f"{what} of: {variable.long_name}"
    return replace(
        variable, name=f"{variable.name}{suffix}", long_name=long_name, direction="none", reference=JACKKNIFE
    )


def jackknife(
    errors: Iterable[str], biases: Iterable[str], whole: Numbers, without: Sequence[Numbers]
) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Return standard errors, ``sqrt((G - 1)/G sum_g (x_g - mean x)^2)``, and biases, ``(G - 1) (mean x - x)``.

    Parameters
    ----------
    errors, biases : iterable of str
        The variables that have an error, and those that have a bias.
    whole : Numbers
        ``x``, for all samples.
    without : sequence of Numbers
        ``x_g``, without each of the ``G`` groups.

    Returns
    -------
    Numbers
        Under the names of the variables of errors and biases; NaN where a number is missing without some group.
    """
    groups, biased = len(without), set(biases)
    found: dict[str, dict[tuple[str, str], np.ndarray]] = {}
    for name in (name for name in errors if name in whole):
        for key, value in whole[name].items():
            parts = [part.get(name, {}).get(key, np.full_like(value, np.nan)) for part in without]
            # An infinite replicate makes the error NaN.
            with np.errstate(invalid="ignore"):
                error = np.sqrt(groups - 1) * np.std(parts, axis=0)
                found.setdefault(f"{name}_se", {})[key] = error
                if name in biased:
                    bias = np.where(np.isnan(error), np.nan, (groups - 1) * (np.mean(parts, axis=0) - value))
                    found.setdefault(f"{name}_bias", {})[key] = bias
    return found


def _chance_variables(metric: Metric) -> list[Variable]:
    """The variables of a metric under shuffled labels: the mean, and both edges of the band."""
    variable = metric.variable
    words = {"": "mean", "_low": "2.5% quantile", "_high": "97.5% quantile"}
    return [
        replace(
            variable,
            name=f"{variable.name}_null{suffix}",
            long_name=f"{what} under shuffled labels of: {variable.long_name}",
            direction="none",
            reference="permutation of the labels",
        )
        for suffix, what in words.items()
    ]


def under_chance(metrics: Sequence[Metric], draws: Sequence[Numbers]) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Return the mean of every metric under shuffled labels, and the band that holds 95% of such values.

    From the k-th smallest of ``K`` draws to the k-th largest, with ``k = (K + 1) // 40``: one more draw lies within
    with probability ``1 - 2k/(K + 1)``, whatever the distribution. The band of fewer than 39 draws is their range,
    which holds it with ``(K - 1)/(K + 1)`` only.

    Returns
    -------
    Numbers
        Under the names of `variables_of`.
    """
    found: dict[str, dict[tuple[str, str], np.ndarray]] = {}
    for name in (metric.name for metric in metrics):
        for key in draws[0].get(name, {}):
            values = np.sort([draw[name][key] for draw in draws], axis=0)
            mean = values.mean(0)
            beyond = max(1, (len(values) + 1) // _ONE_BEYOND)
            low, high = (np.where(np.isnan(mean), np.nan, values[place]) for place in (beyond - 1, -beyond))
            for suffix, number in (("", mean), ("_low", low), ("_high", high)):
                found.setdefault(f"{name}_null{suffix}", {})[key] = np.asarray(number)
    return found
