"""The metrics of a profile: those that were asked for, what they need, and the variables that come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData, NotRepeatable
from layerwise.evaluation.dataset import CLASS_NETWORK_ERROR, NETWORK_ERROR, NETWORK_MIOU, NETWORK_MSE
from layerwise.evaluation.target_frames import check_frames, select_with_frame
from layerwise.evaluation.uncertainty import error_variable, variables_of, with_chance
from layerwise.features.reduction import DENSE
from layerwise.metrics import Convention, Metric, convention, needs_of, select
from layerwise.profiling.inputs import check_classes_for
from layerwise.profiling.positions import check_positions
from layerwise.profiling.prepare import Inputs
from layerwise.schema import Variable
from layerwise.settings import Settings

__all__ = ["MetricSelection", "metric_variables", "select_metrics"]


@dataclass(frozen=True)
class MetricSelection:
    """Metrics, and what is accumulated for them.

    Attributes
    ----------
    metrics : sequence of Metric
        Those that were asked for; by default, those that the targets have.
    applying : sequence of Metric
        Those among them that the targets have.
    needs : frozenset of str
        Statistics that the metrics ask for.
    convention : Convention
    """

    metrics: Sequence[Metric]
    applying: Sequence[Metric]
    needs: frozenset[str]
    convention: Convention


def select_metrics(settings: Settings, inputs: Inputs, first: Batch) -> MetricSelection:
    """Select the metrics, and check that data and settings allow them.

    Raises
    ------
    UnknownName
        If there is no such metric, or a frame is for a target that there is not.
    InvalidData, InvalidLabels
        If metrics, labels and settings do not fit each other.
    NotRepeatable
        If a second run of the data is needed, and a loader runs only once.
    """
    named = convention(settings.convention)
    named = replace(named, debiased=named.debiased or settings.debiased)
    metrics = select_with_frame(settings)
    applying = [metric for metric in metrics if inputs.applies(metric)]
    if settings.metrics is None:
        metrics = applying
    needs = needs_of(applying, named)
    # With no class target, target-free metrics use the regression statistics.
    selection = MetricSelection(
        metrics, applying, frozenset(needs if inputs.class_targets else needs | {"regression"}), named
    )
    check_classes_for(metrics, settings.metrics, first)
    check_frames(settings, inputs.targets, inputs.class_counts)
    check_positions(settings, inputs.dimensions, selection.needs, repeatable=inputs.loaders.repeatable)
    if "complexity" in selection.needs and not inputs.loaders.repeatable:
        raise NotRepeatable("geometric complexity takes a second run of the data, and a loader runs only once")
    if settings.null:
        _check_null(selection, inputs)
    return selection


def metric_variables(settings: Settings, inputs: Inputs, selection: MetricSelection) -> list[Variable]:
    """Variables of the network's own errors and of the metrics, with standard errors and chance if asked for."""
    with_classes, errors = bool(inputs.class_targets), settings.jackknife > 0
    of_network = [NETWORK_ERROR] * with_classes
    of_network += [CLASS_NETWORK_ERROR, NETWORK_MIOU] * (with_classes and settings.reduce in DENSE)
    of_network += [NETWORK_MSE] * bool(inputs.dimensions)
    of_network += [error_variable(variable) for variable in of_network if errors]
    return [*of_network, *variables_of(selection.metrics, errors=errors, chance=settings.null > 0)]


def _check_null(selection: MetricSelection, inputs: Inputs) -> None:
    """Raise if no selected metric has a value by chance, or labels cannot be shuffled."""
    if not with_chance(selection.applying):
        names = ", ".join(metric.name for metric in with_chance(select()) if inputs.applies(metric))
        raise InvalidData(
            "null= shuffles labels and targets, and no metric that was asked for depends on which goes with which "
            f"sample; of these targets do {names}"
        )
    if not inputs.loaders.repeatable:
        raise NotRepeatable("null= reads the labels before the network runs, and a loader runs only once")
