"""The registry: a metric is one decorated function, and its parameters say which statistics it needs."""

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

#: What a metric can ask for by naming a parameter so, and the pass over the data after which it is there.
EVIDENCE: dict[str, int] = {
    "convention": 0,  # metrics.convention.Convention
    "frame": 0,  # theory.Frame that the class means should reach, where one was asked for
    "classifier": 0,  # (C, d) weight of the network's own classifier, where the layer feeds it
    "next_map": 0,  # (out, d) weight of the linear map that the layer feeds
    "head": 0,  # (q, d) weight of the network's own regression head, where the layer feeds it
    "weights": 0,  # Weights of the linear maps beside the layer
    "moments": 1,  # statistics.Moments
    "sizes": 1,  # (k,) samples of the classes in `moments`, those too that were not drawn
    "regression": 1,  # statistics.TargetMoments
    "readout": 1,  # statistics.Readout, fitted on the training split
    "complexity": 1,  # statistics.Complexity, of a pass of its own that derives
    "covariance": 1,  # statistics.Moments with S_W, of a random projection where the layer is too wide
    "span": 2,  # statistics.Span
    "nearest": 2,  # statistics.NearestCenters
    "probe": 2,  # share of samples that the ridge classifier gets wrong
}

#: When a metric is a fit of the labels to the features.
Fitted = Literal["never", "always", "unless shrunk"]

_REGISTRY: dict[str, Metric] = {}


@dataclass(frozen=True)
class Metric:
    """A registered metric: the function, what the Dataset says of it, and the statistics that it needs."""

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
        """The metric's name, which is the variable's in the Dataset."""
        return self.variable.name

    @property
    def passes(self) -> int:
        """Passes over the data after which the metric can be computed."""
        return max(EVIDENCE[need] for need in self.needs)

    @property
    def has_standard_error(self) -> bool:
        """Whether it varies with the samples as an estimate does, and so has a standard error.

        Weights know no samples, a whole number of directions jumps, and a derivative takes a pass of its own.
        """
        return "split" in self.variable.dims and not self.integer_valued and "complexity" not in self.needs

    @property
    def has_bias(self) -> bool:
        """Whether it moves smoothly with the samples, so that leaving some of them out tells its bias.

        A share of mistakes jumps as class means or a probe move past single samples.
        """
        return self.has_standard_error and not {"nearest", "probe"} & set(self.needs)

    @property
    def has_chance(self) -> bool:
        """Whether it measures collapse onto a target, and so has a value by chance, under shuffled labels or targets.

        Of regression only what depends on which target goes with which sample.
        """
        dims = self.variable.dims
        of_targets = "target" in dims and "class" not in dims and (self.needs_pairing or "regression" not in self.needs)
        return self.has_standard_error and of_targets and self.variable.direction != "none"

    def applies(self, *, classes: bool, regression: bool) -> bool:
        """Whether it can be measured where there are such targets; what knows no target is measured of any."""
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

    The names of its parameters are keys of `EVIDENCE`; the passes over the data are planned from them. It returns a
    number, or one number per class where ``class`` is among `dims`.

    Parameters
    ----------
    long_name, units, reference, direction, dims
        What the Dataset says of the variable (`layerwise.schema.Variable`).
    least_classes : int
        With fewer classes than this the metric is NaN; 0 for what knows no classes.
    default : bool
        Whether it is measured when no metric is named: what is costly is not (see `select`).
    measured_with : str
        Name of the metric that it is always measured with.
    integer_valued : bool
        Whether it is a whole number of directions, which has no standard error.
    needs_pairing : bool
        Of regression, whether it depends on which target goes with which sample; the spread of each alone does not.
    within : bool
        Whether it compares what lies within classes with what lies between them: of no class of two samples nothing is
        known (`layerwise.metrics.limits`).
    fitted : {"never", "always", "unless shrunk"}
        Whether it is a fit of the labels, which says nothing of no more samples than features; "unless shrunk" where a
        convention may regularise it.
    workspace : callable
        Numbers that it takes for the moment beside its statistics, so that the planner knows; three copies of the class
        means, or of the covariance, by default.

    Raises
    ------
    UnknownName
        If a parameter is no statistic, or the direction is none.
    InvalidData
        If it asks for nothing, or another module has a metric of its name.

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
        asked = (least_classes, default, measured_with, integer_valued, needs_pairing, within, fitted, workspace)
        _REGISTRY[name] = Metric(function, variable, needs, *asked)
        return function

    return register


@checked()
def list_metrics(pattern: str = "*") -> list[str]:
    """Names of the registered metrics that match a glob pattern, in the order of registration."""
    return [name for name in _REGISTRY if fnmatchcase(name, pattern)]


@checked()
def get(name: str) -> Metric:
    """The metric of that name.

    Raises
    ------
    UnknownName
        With the nearest names.
    """
    if name not in _REGISTRY:
        raise UnknownName("metric", name, _REGISTRY)
    return _REGISTRY[name]


def select(chosen: str | Iterable[str] | None = None) -> list[Metric]:
    """Metrics by name or glob pattern, in the order of registration; for None all that are measured by default.

    A pattern chooses what is not measured by default only if it matches nothing else: its name, or ``geometric_*``.

    Raises
    ------
    UnknownName
        If a pattern matches nothing.
    """
    patterns = ["*"] if chosen is None else [chosen] if isinstance(chosen, str) else list(chosen)
    names: set[str] = set()
    for pattern in patterns:
        found = list_metrics(pattern)
        names.update([name for name in found if _REGISTRY[name].default] or found or [get(pattern).name])
    names.update([name for name, item in _REGISTRY.items() if item.measured_with in names])
    return [_REGISTRY[name] for name in _REGISTRY if name in names]


def needs_of(metrics: Iterable[Metric], convention: Convention) -> frozenset[str]:
    """The statistics that metrics ask for under a convention.

    Those are keys of `EVIDENCE`, and ``"fourth"`` where the convention shrinks the covariance that one of them takes,
    ``"noise"`` where it takes the sampling error out of the span of the class means.
    """
    chosen = list(metrics)
    needs = {need for metric in chosen for need in metric.needs}
    together = [set(metric.needs) for metric in chosen if "convention" in metric.needs]
    if convention.shrinkage != "none" and any("covariance" in own for own in together):
        needs |= {"fourth"}
    if convention.debiased and any("span" in own for own in together):
        needs |= {"noise", "covariance"}
    return frozenset(needs)


def compute(metric: Metric, evidence: Mapping[str, Any], classes: int) -> np.ndarray:
    """One metric from finished statistics; NaN where what it needs is None or too few classes are present.

    Parameters
    ----------
    metric : Metric
    evidence : mapping
        A value for every key of `EVIDENCE` that the metric needs.
    classes : int
        Number of classes of the target, the length of a per-class result.
    """
    per_class = "class" in metric.variable.dims
    missing = any(evidence.get(need) is None for need in metric.needs)
    if missing or (metric.least_classes and _classes_seen(metric, evidence) < metric.least_classes):
        return no_value(metric, classes)
    # A degenerate layer (all class means equal, say) has no value: NaN or infinity says so.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value = metric.function(**{need: evidence[need] for need in metric.needs})
    if not per_class:
        return np.asarray(value, dtype=np.float64)
    spread = np.full(classes, np.nan)
    spread[: len(value)] = value
    return spread


def no_value(metric: Metric, classes: int) -> np.ndarray:
    """NaN in the shape of a metric's values."""
    return np.full(classes if "class" in metric.variable.dims else (), np.nan)


def _classes_seen(metric: Metric, evidence: Mapping[str, Any]) -> int:
    """Classes that the metric compares: those with a centre for what is judged by centres, else the split's own."""
    if {"nearest", "probe"} & set(metric.needs):
        return int(evidence["nearest"].centers)
    moments = evidence.get("moments")
    return 0 if moments is None else len(moments.classes)
