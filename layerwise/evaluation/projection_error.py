"""The error of a random projection, measured on kept samples, and the numbers that it makes useless."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from layerwise.errors import listed
from layerwise.evaluation.dataset import Numbers
from layerwise.evaluation.evaluate import Evaluation
from layerwise.features.reading import LayerReading
from layerwise.metrics import Metric
from layerwise.passes import PassRequest, SplitResult, Subsample, measure_part
from layerwise.schema import COMPANIONS, PROJECTION_ERROR, Variable

__all__ = ["Compared", "compare_with_span", "error_variables", "projected_metrics"]

# A number that the projection moves by more than this share becomes NaN.
_MOST_OFF = 0.5
# Eigenvalues of a projection to k directions spread as if k others were mixed in: at k/2 the true rank may be k.
_MOST_FILLED = 0.5
# Where zero is no natural end of the scale, the projection may move a number by this share of one.
_WITHOUT_ZERO = ("logme", "linear_logme", "linear_r2")

_NO_SAMPLE = "no sample fits into the memory budget, to compare the projection with all features"
_NO_VALUE = "the samples that are compared have no value without the projection"
_TOO_FAR = "the projection changes it by more than half"
_TOO_MANY = "there are more directions than half of the projection's"

#: Layers by metric, by the reason for which their numbers are NaN.
Missing = dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class Compared:
    """Numbers of every split, with the projection's errors.

    Attributes
    ----------
    numbers : dict of split to Numbers
    samples : dict of str to int
        The number of samples of each split that the projection was compared on, for the target that has fewest.
    exact : list of str
        Splits whose samples were all kept, so that their numbers are exact.
    missing : dict of str to Missing
        By split.
    """

    numbers: dict[str, Numbers]
    samples: dict[str, int]
    exact: list[str]
    missing: dict[str, Missing]

    @property
    def told(self) -> dict[str, Any]:
        """The attributes of the Dataset."""
        exact = {"exact": self.exact} if self.exact else {}
        missing = {"missing": self.missing} if self.missing else {}
        return {"projection": {"samples": self.samples, **exact, **missing}}

    @property
    def line(self) -> str:
        """A line on the numbers that are NaN; empty if there is none."""
        if not self.missing:
            return ""
        names = list(dict.fromkeys(name for of in self.missing.values() for own in of.values() for name in own))
        split, reasons = next(iter(self.missing.items()))
        reason, of_metric = next(iter(reasons.items()))
        name, layers = next(iter(of_metric.items()))
        return (
            f"{listed(names)}: NaN in layers that are read through a random projection, such as {name} in "
            f"{layers[0]!r} of split {split!r}: {reason}. Give more memory, fewer samples, or fewer features with "
            "reduce='sketch:k'"
        )


@dataclass(frozen=True)
class _BothWays:
    """Numbers of the same samples with all features and through the projection."""

    exact: Numbers
    projected: Numbers

    def of(self, name: str, key: tuple[str, str]) -> tuple[np.ndarray, np.ndarray] | None:
        """Both numbers of a metric; None where they are of other targets."""
        exact, projected = (numbers.get(name, {}).get(key) for numbers in (self.exact, self.projected))
        return None if exact is None or projected is None else (exact, projected)

    def change(self, name: str, key: tuple[str, str]) -> np.ndarray:
        """The projection's number less the exact one; nothing where both are the same infinity."""
        exact, projected = self.of(name, key) or (np.array(np.nan), np.array(np.nan))
        with np.errstate(invalid="ignore"):
            return np.where(exact == projected, 0.0, projected - exact)


@dataclass(frozen=True)
class _Measured:
    """What was measured of one split's kept samples of a layer.

    Attributes
    ----------
    all : _BothWays
        Of all of them.
    halves : sequence of _BothWays
        Of either half of them; none where they are the whole split.
    times : float
        How many times as many samples the split, or the one that judges, has.
    exact : bool
        Whether the numbers of the split are those of these samples.
    """

    all: _BothWays
    halves: Sequence[_BothWays]
    times: float
    exact: bool

    def error(self, name: str, key: tuple[str, str]) -> np.ndarray:
        """How far the projection's number of all samples may be off.

        The change on the samples that are kept, and as much again as it differs on a half of them: once for each
        doubling up to the samples of the split, or for what chance does to a part of them.
        """
        change = self.all.change(name, key)
        if not self.halves:
            return np.asarray(np.abs(change))
        swayed = np.max([np.abs(change - half.change(name, key)) for half in self.halves], axis=0)
        return np.asarray(np.abs(change) + swayed * max(math.log2(self.times), math.sqrt(1 - 1 / self.times)))


def projected_metrics(metrics: Sequence[Metric], *, classes: bool) -> list[Metric]:
    """Return the metrics that come from the projection in wide layers.

    Metrics that take nothing but a correction for few samples from it are not among them.

    Parameters
    ----------
    metrics : sequence of Metric
    classes : bool
        Whether any target has classes; if not, the moments are those of the projection too.
    """
    sources = {"covariance", "probe", "regression", "readout"} | (set() if classes else {"moments"})
    return [metric for metric in metrics if sources & set(metric.needs) and "layer" in metric.variable.dims]


def error_variables(metrics: Sequence[Metric]) -> list[Variable]:
    """Return the variables of the errors of such metrics."""
    return [
        replace(
            metric.variable,
            name=f"{metric.name}{PROJECTION_ERROR}",
            long_name=f"error by the random projection of: {metric.variable.long_name}",
            direction="none",
            reference="exact form on some of the samples",
        )
        for metric in metrics
    ]


def compare_with_span(
    evaluation: Evaluation,
    metrics: Sequence[Metric],
    results: Mapping[str, SplitResult],
    numbers: Mapping[str, Numbers],
) -> Compared:
    """Measure the projection's errors, and replace numbers that it makes useless by NaN.

    Parameters
    ----------
    evaluation : Evaluation
    metrics : sequence of Metric
        The `projected_metrics`.
    results : mapping of split to SplitResult
        The training split first, if there is one.
    numbers : mapping of split to Numbers
        The numbers of all samples.
    """
    samples = {split: min(len(kept) for _, kept in result.compared) for split, result in results.items()}
    judged = {split: {name: dict(values) for name, values in numbers[split].items()} for split in results}
    exact: dict[str, bool] = dict.fromkeys(results, True)
    missing: dict[str, Missing] = {}
    for place, (request, _) in enumerate(next(iter(results.values())).compared):
        parts = {split: result.compared[place] for split, result in results.items()}
        for reading in request.projected:
            for split, measured in _measure(evaluation, metrics, reading, parts).items():
                exact[split] &= measured is not None and measured.exact
                reasons = missing.get(split, {})
                _put(metrics, judged[split], reasons, reading, request.plan.projected_width, measured)
                missing |= {split: reasons} if reasons else {}
    return Compared({**judged}, samples, [split for split, all_kept in exact.items() if all_kept], missing)


def _measure(
    evaluation: Evaluation,
    metrics: Sequence[Metric],
    reading: LayerReading,
    parts: Mapping[str, tuple[PassRequest, Subsample]],
) -> dict[str, _Measured | None]:
    """Measure the kept samples of a layer, by split; None where none are kept."""
    alone = replace(evaluation, readings=[reading])
    measured: dict[str, _Measured | None] = {}
    trained: dict[tuple[int, bool], SplitResult] = {}
    for split, (request, kept) in parts.items():
        judging = [parts["train"][1]] if "train" in parts else []
        if not all(len(own) for own in (kept, *judging)):
            measured[split] = None
            continue
        times = max(own.samples / len(own) for own in (kept, *judging))
        features, labels = kept.features(reading.name), kept.labels()
        middle = (len(kept) + 1) // 2
        ways = []
        # The samples lie in the order of their hashes: either half is a random part.
        for part, some in enumerate((slice(None), slice(middle), slice(middle, None))[: 3 if times > 1 else 1]):
            own_labels = {target: values[some] for target, values in labels.items()}
            pair = []
            for exact in (True, False):
                judge = trained.get((part, exact))
                result = measure_part(request, reading, features[some], own_labels, judge, exact=exact)
                trained |= {(part, exact): result} if split == "train" else {}
                pair.append(alone.all_numbers(result, metrics).numbers)
            ways.append(_BothWays(*pair))
        # Standard errors and chance are the projection's, and the number that they are of has to be too.
        whole = times == 1 and not request.settings.jackknife and not request.settings.null
        measured[split] = _Measured(ways[0], ways[1:], times, whole)
    return measured


def _put(
    metrics: Sequence[Metric],
    numbers: dict[str, dict[tuple[str, str], np.ndarray]],
    missing: Missing,
    reading: LayerReading,
    width: int,
    measured: _Measured | None,
) -> None:
    """Put the errors of one layer into the numbers, and NaN in place of numbers that the projection makes useless."""
    for metric in metrics:
        of_layer = [key for key in numbers.get(metric.name, {}) if key[1] == reading.name]
        for key in of_layer:
            compared = key in numbers.get(f"{metric.name}{PROJECTION_ERROR}", {})
            if compared or (measured is not None and measured.all.of(metric.name, key) is None):
                # The key belongs to another stream of tokens or pixels.
                continue
            value, error, reasons = _judge(metric, key, numbers[metric.name][key], width, measured)
            taken = np.zeros(np.shape(value), dtype=bool)
            for reason, where in reasons.items():
                first = where & ~np.isnan(value) & ~taken
                taken |= first
                if first.any():
                    missing.setdefault(reason, {}).setdefault(metric.name, []).append(reading.name)
            numbers.setdefault(f"{metric.name}{PROJECTION_ERROR}", {})[key] = error
            numbers[metric.name][key] = value
            for suffix in ("", *COMPANIONS):
                own = numbers.get(f"{metric.name}{suffix}", {})
                if key in own:
                    own[key] = np.where(taken, np.nan, own[key])


def _judge(
    metric: Metric, key: tuple[str, str], value: np.ndarray, width: int, measured: _Measured | None
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The number, its error, and where it is useless, by the reason."""
    pair = None if measured is None else measured.all.of(metric.name, key)
    if measured is None or pair is None:
        return value, np.full_like(value, np.nan), {_NO_SAMPLE: np.ones(np.shape(value), dtype=bool)}
    exact, projected = pair
    if measured.exact:
        return exact, np.where(np.isnan(exact), np.nan, 0.0), {}
    error = measured.error(metric.name, key)
    scale = np.maximum(np.abs(exact), np.abs(projected))
    scale = np.maximum(scale, 1.0) if metric.name in _WITHOUT_ZERO else scale
    of_directions = "target" not in metric.variable.dims and "covariance" in metric.needs
    with np.errstate(invalid="ignore"):
        reasons = {
            _TOO_MANY: np.asarray(of_directions & (value > _MOST_FILLED * width)),
            _NO_VALUE: np.isnan(error),
            _TOO_FAR: np.asarray(error > _MOST_OFF * scale),
        }
    return value, error, reasons
