"""The registry of metrics: a metric is one decorated function, and its parameters name the statistics that it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import numpy as np

from layerwise.arguments import checked
from layerwise.errors import InvalidData, UnknownName
from layerwise.metrics.convention import Convention
from layerwise.metrics.sizes import Sizes, copies
from layerwise.schema import Direction, Variable

__all__ = [
    "EVIDENCE",
    "Fitted",
    "Metric",
    "compute",
    "get",
    "list_metrics",
    "metric",
    "needs_of",
    "no_value",
    "select",
]

#: The statistics that a parameter of a metric can name, and the pass over the data after which each is available.
EVIDENCE: dict[str, int] = {
    "convention": 0,  # metrics.convention.Convention
    "frame": 0,  # theory.Frame that the class means are compared with, where the caller names one
    "classifier": 0,  # (C, d) weight of the network's own classifier, where the layer feeds it
    "next_map": 0,  # (out, d) weight of the linear map that the layer feeds
    "head": 0,  # (q, d) weight of the network's own regression head, where the layer feeds it
    "weights": 0,  # Weights of the linear maps beside the layer
    "moments": 1,  # statistics.Moments
    "sizes": 1,  # (k,) samples of the classes in `moments`, drawn or not
    "regression": 1,  # statistics.TargetMoments
    "readout": 1,  # statistics.Readout, fitted on the training split
    "complexity": 1,  # statistics.Complexity, from a pass of its own that differentiates
    "covariance": 1,  # statistics.Moments with S_W; from a random projection where the layer is too wide
    "span": 2,  # statistics.Span
    "nearest": 2,  # statistics.NearestCenters
    "probe": 2,  # share of samples that the ridge classifier gets wrong
}

#: When a metric fits the labels to the features.
Fitted = Literal["never", "always", "unless shrunk"]

_REGISTRY: dict[str, Metric] = {}


@dataclass(frozen=True)
class Metric:
    """A registered metric: the function, the variable that it is in the Dataset, and the statistics that it needs.

    `metric` describes the other attributes.
    """

    function: Callable[..., Any]
    variable: Variable
    needs: tuple[str, ...]
    least_classes: int
    default: bool = True
    measured_with: str = ""
    integer_valued: bool = False
    needs_pairing: bool = False
    within: bool = False
    fitted: Fitted = "never"
    workspace: Callable[[Sizes], int] = copies

    @property
    def name(self) -> str:
        """Name of the metric, and of its variable in the Dataset."""
        return self.variable.name

    @property
    def passes(self) -> int:
        """Number of passes over the data after which the metric can be computed."""
        return max(EVIDENCE[need] for need in self.needs)

    @property
    def has_standard_error(self) -> bool:
        """Whether the metric varies with the samples as an estimate does, and so has a standard error.

        Weights depend on no samples, an integer-valued metric jumps, and a derivative takes a pass of its own.
        """
        return "split" in self.variable.dims and not self.integer_valued and "complexity" not in self.needs

    @property
    def has_bias(self) -> bool:
        """Whether the metric changes smoothly with the samples, so that leaving some of them out estimates its bias.

        A share of mistakes jumps when a class mean or a probe moves past a single sample.
        """
        return self.has_standard_error and not {"nearest", "probe"} & set(self.needs)

    @property
    def has_chance(self) -> bool:
        """Whether the metric measures collapse onto a target, and so has a value under shuffled labels or targets.

        A regression metric does only if it depends on which target belongs to which sample.
        """
        dims = self.variable.dims
        of_targets = "target" in dims and "class" not in dims and (self.needs_pairing or "regression" not in self.needs)
        return self.has_standard_error and of_targets and self.variable.direction != "none"

    def applies(self, *, classes: bool, regression: bool) -> bool:
        """Return whether the metric can be measured with such targets; one that uses no target is measured with any."""
        if "regression" in self.needs:
            return regression
        return classes or (regression and "target" not in self.variable.dims)


def metric(
    long_name: str,
    *,
    direction: Direction,
    reference: str = "",
    units: str = "1",
    dims: tuple[str, ...] = ("epoch", "split", "target", "layer"),
    least_classes: int = 2,
    default: bool = True,
    measured_with: str = "",
    integer_valued: bool = False,
    needs_pairing: bool = False,
    within: bool = False,
    fitted: Fitted = "never",
    workspace: Callable[[Sizes], int] = copies,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as a metric under its own name.

    The names of its parameters are keys of `EVIDENCE`; the passes over the data are planned from them. It returns one
    number, or one number for each class where `dims` has ``"class"``.

    Parameters
    ----------
    long_name, units, reference, direction, dims
        Attributes of the variable in the Dataset (`layerwise.schema.Variable`).
    least_classes : int
        Number of classes below which the metric is NaN; 0 for a metric that uses no classes.
    default : bool
        Whether the metric is measured when none is named; False for what is costly (see `select`).
    measured_with : str
        Name of the metric that it is always measured with.
    integer_valued : bool
        Whether the value is a whole number, such as one of directions, which has no standard error.
    needs_pairing : bool
        Whether a regression metric depends on which target belongs to which sample, not only on the spread of each.
    within : bool
        Whether the metric compares the scatter within classes with that between them; it is NaN where no class has two
        samples (`layerwise.metrics.limits`).
    fitted : {"never", "always", "unless shrunk"}
        Whether the metric fits the labels, so that it means nothing with no more samples than features; "unless shrunk"
        where a convention may regularise the fit.
    workspace : callable
        Numbers of float64 that the computation takes beside its statistics, from the `Sizes` of the layer; the planner
        uses it. Three copies of the class means, or of the covariance, by default.

    Returns
    -------
    callable
        The decorator, which returns the function as it is.

    Raises
    ------
    UnknownName
        If a parameter names no statistic, or the direction is unknown.
    InvalidData
        If the function has no parameter, or another module has a metric of its name.

    Examples
    --------
    >>> from layerwise.metrics import list_metrics
    >>> list_metrics("nc1*")
    ['nc1', 'nc1_trace']
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        needs = tuple(inspect.signature(function).parameters)
        for need in needs:
            if need not in EVIDENCE:
                raise UnknownName("statistic", need, EVIDENCE, hint=f"{function.__name__} asks for it")
        if not needs:
            raise InvalidData(f"the metric {function.__name__!r} asks for no statistic: name one as its parameter")
        if direction not in get_args(Direction):
            raise UnknownName("direction", direction, get_args(Direction))
        name = function.__name__
        if name in _REGISTRY and _REGISTRY[name].function.__module__ != function.__module__:
            raise InvalidData(f"there is a metric {name!r} already; give the function another name")
        variable = Variable(name, dims, long_name, units, direction, reference)
        options = (least_classes, default, measured_with, integer_valued, needs_pairing, within, fitted, workspace)
        _REGISTRY[name] = Metric(function, variable, needs, *options)
        return function

    return register


@checked()
def list_metrics(pattern: str = "*") -> list[str]:
    """Return the names of the registered metrics that match a glob pattern, in the order of registration.

    Parameters
    ----------
    pattern : str
        ``"*"`` matches all.

    Returns
    -------
    list of str
    """
    return [name for name in _REGISTRY if fnmatchcase(name, pattern)]


@checked()
def get(name: str) -> Metric:
    """Return the metric of a name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Metric

    Raises
    ------
    UnknownName
        If there is no metric of that name; the error lists the nearest names.
    """
    if name not in _REGISTRY:
        raise UnknownName("metric", name, _REGISTRY)
    return _REGISTRY[name]


def select(chosen: str | Iterable[str] | None = None) -> list[Metric]:
    """Return metrics by name or glob pattern, in the order of registration.

    A pattern chooses a metric that is not measured by default only if it matches no other: by its name, or by
    ``geometric_*``.

    Parameters
    ----------
    chosen : str or iterable of str, optional
        Names and patterns; all that are measured by default, if None.

    Returns
    -------
    list of Metric

    Raises
    ------
    UnknownName
        If a pattern matches nothing.
    """
    patterns = ["*"] if chosen is None else [chosen] if isinstance(chosen, str) else list(chosen)
    names: set[str] = set()
    for pattern in patterns:
        matches = list_metrics(pattern)
        names.update([name for name in matches if _REGISTRY[name].default] or matches or [get(pattern).name])
    names.update([name for name, item in _REGISTRY.items() if item.measured_with in names])
    return [_REGISTRY[name] for name in _REGISTRY if name in names]


def needs_of(metrics: Iterable[Metric], convention: Convention) -> frozenset[str]:
    """Return the statistics that metrics need under a convention.

    Parameters
    ----------
    metrics : iterable of Metric
    convention : Convention

    Returns
    -------
    frozenset of str
        Keys of `EVIDENCE`; also ``"fourth"`` where the convention shrinks a covariance that is needed, and ``"noise"``
        where it corrects the span of the class means for their sampling error.
    """
    chosen = list(metrics)
    needs = {need for metric in chosen for need in metric.needs}
    with_convention = {need for metric in chosen if "convention" in metric.needs for need in metric.needs}
    if convention.shrinkage != "none" and "covariance" in with_convention:
        needs |= {"fourth"}
    if convention.debiased and "span" in with_convention:
        needs |= {"noise", "covariance"}
    return frozenset(needs)


def compute(metric: Metric, evidence: Mapping[str, Any], classes: int) -> np.ndarray:
    """Compute one metric from finished statistics.

    Parameters
    ----------
    metric : Metric
    evidence : mapping
        A value for every key of `EVIDENCE` that the metric needs.
    classes : int
        Number of classes of the target, the length of a per-class result.

    Returns
    -------
    ndarray
        One number, or one for each class; NaN where a statistic is None or too few classes are present.
    """
    per_class = "class" in metric.variable.dims
    missing = any(evidence.get(need) is None for need in metric.needs)
    if missing or (metric.least_classes and _classes_seen(metric, evidence) < metric.least_classes):
        return no_value(metric, classes)
    # A degenerate layer, such as one whose class means are all equal, has NaN or infinity for a value.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value = metric.function(**{need: evidence[need] for need in metric.needs})
    if not per_class:
        return np.asarray(value, dtype=np.float64)
    values = np.full(classes, np.nan)
    values[: len(value)] = value
    return values


def no_value(metric: Metric, classes: int) -> np.ndarray:
    """Return NaN in the shape of the metric's values."""
    return np.full(classes if "class" in metric.variable.dims else (), np.nan)


def _classes_seen(metric: Metric, evidence: Mapping[str, Any]) -> int:
    """Count the classes that the metric compares: those with a centre if it uses centres, else those of the split."""
    if {"nearest", "probe"} & set(metric.needs):
        return int(evidence["nearest"].centers)
    moments = evidence.get("moments")
    return 0 if moments is None else len(moments.classes)
