"""The plan of the passes, what they are asked for, and what identifies a measurement that is resumed."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from layerwise.adapters.protocol import Batch
from layerwise.evaluation.projection_error import projected_metrics
from layerwise.features.reduction import DENSE
from layerwise.metrics import Metric
from layerwise.network.weights import weight_hash
from layerwise.passes import PassRequest
from layerwise.passes.first_features import arithmetic_of
from layerwise.passes.occurring_classes import held_classes
from layerwise.passes.plan import Plan, make_plan
from layerwise.passes.resume import ResumeState
from layerwise.passes.vocabulary import vocabularies_of
from layerwise.passes.workload import Workload
from layerwise.profiling.inputs import score_names
from layerwise.profiling.layer_selection import LayerSelection
from layerwise.profiling.metric_selection import MetricSelection
from layerwise.profiling.positions import most_samples
from layerwise.profiling.prepare import Inputs
from layerwise.profiling.prepared import Prepared
from layerwise.runtime.byte_sizes import parse_memory
from layerwise.runtime.distributed import broadcast
from layerwise.settings import Settings

__all__ = ["pass_request", "plan_passes", "projected_of", "resumed_plan"]


def plan_passes(
    settings: Settings, inputs: Inputs, metrics: MetricSelection, layers: LayerSelection, first: Batch
) -> Plan:
    """Plan the passes, the same in every process.

    Raises
    ------
    BudgetExceeded, NotRepeatable
        As `make_plan` raises them.
    """
    class_counts = held_classes(
        *(layers.network, inputs.loaders.splits, first, inputs.class_targets, inputs.class_counts),
        *(settings, inputs.ignored(settings)),
    )
    classes = max(class_counts.values(), default=1)
    work = Workload(
        widths=[reading.features for reading in layers.readings],
        classes=classes,
        samples=most_samples(settings, inputs.loaders.most_samples, layers.readings, classes),
        targets=len(class_counts),
        dimensions=list(inputs.dimensions.values()),
        needs=metrics.needs,
        metrics=metrics.applying,
        batch=first.size,
        positions=settings.reduce in DENSE,
        repeatable=inputs.loaders.repeatable,
        replicates=settings.jackknife + (settings.null if settings.reduce == "pixels" else 0),
        shuffles=0 if settings.reduce == "pixels" else settings.null,
        splits=len(inputs.loaders.splits),
    )
    return broadcast(make_plan(work, parse_memory(settings.memory)), inputs.shared)


def pass_request(prepared: Prepared, plan: Plan) -> PassRequest:
    """Return what the passes of one measurement are asked for; the vocabularies are new, and grow with its splits."""
    settings, inputs = prepared.settings, prepared.inputs
    return PassRequest(
        readings=prepared.layers.readings,
        needs=prepared.metrics.needs,
        targets=inputs.targets,
        classes=inputs.class_counts,
        plan=plan,
        settings=settings,
        # A frame has a vector for every declared class.
        vocabularies=vocabularies_of(
            inputs.targets, inputs.dimensions, inputs.class_counts, every=settings.frame is not None
        ),
        names=inputs.class_names,
        score_names=score_names(prepared.layers.network.model),
        dimensions=inputs.dimensions,
    )


def projected_of(prepared: Prepared, request: PassRequest) -> list[Metric]:
    """Return the metrics that come from a random projection in some layer."""
    if not request.projected:
        return []
    return projected_metrics(prepared.metrics.applying, classes=bool(prepared.inputs.class_targets))


def resumed_plan(prepared: Prepared, plan: Plan, resume_state: ResumeState) -> Plan:
    """Return the plan of the measurement that is resumed, or the given one where none is.

    Raises
    ------
    DoesNotFit
        If the saved measurement is one of something else.
    """
    identity = _identity(prepared, pass_request(prepared, plan))
    return Plan(**resume_state.begin(identity, asdict(plan), shared=prepared.inputs.shared))


def _identity(prepared: Prepared, request: PassRequest) -> dict[str, Any]:
    """Return, as plain data, what is measured and on what."""
    settings, inputs, network = prepared.settings, prepared.inputs, prepared.layers.network
    return {
        "model": weight_hash(network.model),
        "layers": [[reading.name, reading.stated, reading.features] for reading in prepared.layers.readings],
        "data": [inputs.loaders.name, inputs.loaders.fingerprint, *inputs.loaders.splits],
        "statistics": sorted(prepared.metrics.needs),
        "targets": list(inputs.targets),
        "classes": request.classes,
        "reduction": [settings.reduce, request.ignored, settings.samples_per_class],
        "dimensions": inputs.dimensions,
        "settings": [settings.ridge, settings.nonfinite, settings.seed, settings.directions, settings.standardize],
        "precision": arithmetic_of(network.device),
        "jackknife or null": [settings.jackknife, settings.null],
        "heads": network.heads,
        "layerwise": version("layerwise"),
    }
