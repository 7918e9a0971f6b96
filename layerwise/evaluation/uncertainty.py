"""From the same measurement made many times to what it says: errors and biases, and what chance alone would give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from layerwise.evaluation.dataset import Numbers
from layerwise.metrics import Metric
from layerwise.schema import JACKKNIFE, Variable

__all__ = ["error_variable", "jackknife", "under_chance", "variables_of", "with_bias", "with_chance", "with_error"]

# Of so many draws, and one more, one lies beyond either edge of a band of 95%.
_ONE_BEYOND = 40


def with_error(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that have a standard error."""
    return [metric for metric in metrics if metric.has_standard_error]


def with_bias(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics whose bias is measured."""
    return [metric for metric in metrics if metric.has_bias]


def with_chance(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that are measured under shuffled labels."""
    return [metric for metric in metrics if metric.has_chance]


def variables_of(metrics: Sequence[Metric], *, errors: bool, chance: bool) -> list[Variable]:
    """Everything that is measured: the metrics, and perhaps their standard errors and biases and what chance gives."""
    found = [metric.variable for metric in metrics]
    if errors:
        found += [error_variable(metric.variable) for metric in with_error(metrics)]
        found += [_from_groups(metric.variable, "_bias", "bias by few samples") for metric in with_bias(metrics)]
    return found + [variable for metric in with_chance(metrics) if chance for variable in _chance_variables(metric)]


def error_variable(own: Variable) -> Variable:
    """What the Dataset says of the standard error of a variable."""
    return _from_groups(own, "_se", "standard error")


def _from_groups(own: Variable, suffix: str, what: str) -> Variable:
    long_name = f"{what} of: {own.long_name}"
    return replace(own, name=f"{own.name}{suffix}", long_name=long_name, direction="none", reference=JACKKNIFE)


def jackknife(
    errors: Iterable[str], biases: Iterable[str], whole: Numbers, without: Sequence[Numbers]
) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Standard errors, ``sqrt((G - 1)/G sum_g (x_g - mean x)^2)``, and biases, ``(G - 1) (mean x - x)``.

    Parameters
    ----------
    errors, biases : iterable of str
        The variables that have each.
    whole : Numbers
        ``x``, of all samples.
    without : sequence of Numbers
        ``x_g``, the same without each of the ``G`` groups.

    Returns
    -------
    Numbers
        Under the names of the variables of errors and biases; NaN where a number is not known without some group.
    """
    groups, biased = len(without), set(biases)
    found: dict[str, dict[tuple[str, str], np.ndarray]] = {}
    for name in (name for name in errors if name in whole):
        for key, value in whole[name].items():
            parts = [part.get(name, {}).get(key, np.full_like(value, np.nan)) for part in without]
            # Of what is infinite without some group nothing is known.
            with np.errstate(invalid="ignore"):
                error = np.sqrt(groups - 1) * np.std(parts, axis=0)
                found.setdefault(f"{name}_se", {})[key] = error
                if name in biased:
                    bias = np.where(np.isnan(error), np.nan, (groups - 1) * (np.mean(parts, axis=0) - value))
                    found.setdefault(f"{name}_bias", {})[key] = bias
    return found


def _chance_variables(metric: Metric) -> list[Variable]:
    """What the Dataset says of a metric under shuffled labels: the mean, and both edges of the band."""
    own = metric.variable
    said = {"": "mean", "_low": "2.5% quantile", "_high": "97.5% quantile"}
    return [
        replace(
            own,
            name=f"{own.name}_null{suffix}",
            long_name=f"{what} under shuffled labels of: {own.long_name}",
            direction="none",
            reference="permutation of the labels",
        )
        for suffix, what in said.items()
    ]


def under_chance(metrics: Sequence[Metric], draws: Sequence[Numbers]) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Mean of every metric under shuffled labels, and the band that holds 95% of such values.

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
