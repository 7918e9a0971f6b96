"""The attributes of a profile: how to get it again, and what its labels are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from layerwise.evaluation.target_frames import frames_told
from layerwise.features.reduction import DENSE
from layerwise.metrics import reached
from layerwise.network.layer import chosen_text
from layerwise.network.weights import weight_hash
from layerwise.passes import SplitResult
from layerwise.passes.class_sizes import least_classes
from layerwise.passes.plan import Plan
from layerwise.profiling.prepare import Inputs
from layerwise.profiling.prepared import Prepared
from layerwise.runtime.environment import environment

__all__ = ["classes_in_order", "profile_attributes", "run_attributes", "settings_attributes"]

# More classes than this are recorded by their number alone.
_MOST_NAMED = 1000


def profile_attributes(
    prepared: Prepared, plan: Plan, results: Mapping[str, SplitResult], sample_order: Mapping[str, str]
) -> dict[str, Any]:
    """Return the attributes that say how to get a profile again.

    Parameters
    ----------
    prepared : Prepared
    plan : Plan
    results : mapping of split to SplitResult
    sample_order : mapping of split to str
        In which order the samples of several processes were counted, where that makes a difference.
    """
    settings, network = prepared.settings, prepared.layers.network
    return {
        "model": prepared.model_name,
        "model_hash": weight_hash(network.model),
        "adapter": network.adapter.name,
        **_data_attributes(prepared.inputs, results),
        **_score_attributes(results, prepared.inputs.class_names),
        **_regression_attributes(results, prepared.inputs.dimensions),
        **({"positions": {s: result.positions for s, result in results.items()}} if settings.reduce in DENSE else {}),
        "layers": chosen_text(settings.layers),
        **settings_attributes(prepared),
        **_reached_metrics(prepared),
        **({"sample_order": dict(sample_order)} if sample_order else {}),
        "network_pooling": prepared.layers.network_pooling,
        **frames_told(settings, next(iter(results.values())).classes),
        "checked": prepared.checks.company,
        "padding": prepared.checks.padding,
        "precision": _precision(network.model),
        "device": str(network.device),
        "plan": plan.reason,
        "passes": plan.passes,
        "forwards": plan.forwards,
    }


def settings_attributes(prepared: Prepared) -> dict[str, Any]:
    """Return the settings that change numbers; options that were not asked for are left out."""
    settings, inputs = prepared.settings, prepared.inputs
    dense = settings.reduce in DENSE
    return {
        "reduce": settings.reduce,
        "convention": prepared.metrics.convention.name,
        "debiased": str(prepared.metrics.convention.debiased),
        "ridge": settings.ridge,
        "seed": settings.seed,
        **({"standardize": str(settings.standardize)} if inputs.dimensions else {}),
        **({"heads": dict(settings.heads)} if settings.heads else {}),
        **({"directions": settings.directions} if "complexity" in prepared.metrics.needs else {}),
        **({"ignore_index": list(inputs.ignored(settings))} if dense else {}),
        **({"samples_per_class": settings.samples_per_class or "all"} if dense else {}),
        **({"jackknife": settings.jackknife} if settings.jackknife else {}),
        **({"null": settings.null} if settings.null else {}),
    }


def run_attributes(seconds: float) -> dict[str, Any]:
    """Return how long a measurement took, and the environment that it ran in."""
    return {"seconds": round(seconds, 3), **environment()}


def classes_in_order(
    inputs: Inputs, results: Mapping[str, SplitResult]
) -> tuple[dict[str, tuple[str, ...]], dict[str, np.ndarray]]:
    """Return the names of every target's classes in the order of their ids, and the place of every row among them."""
    ids = {target: values for result in results.values() for target, values in result.ids.items()}
    # Declared classes have a place each, whether they occur or not.
    places = {t: values if t in inputs.class_names else values.argsort().argsort() for t, values in ids.items()}
    names = {t: inputs.class_names.get(t) or tuple(map(str, np.sort(values))) for t, values in ids.items()}
    return {target: names.get(target, ()) for target in [*inputs.targets, *names]}, places


def _data_attributes(inputs: Inputs, results: Mapping[str, SplitResult]) -> dict[str, Any]:
    """Return where the data comes from, its fingerprints, classes and sizes."""
    loaders = inputs.loaders
    names, _ = classes_in_order(inputs, results)
    classes = {target: of_target for target, of_target in names.items() if target not in inputs.dimensions}
    return {
        "data": loaders.name,
        **({"data_notes": notes} if (notes := list(loaders.notes)) else {}),
        "data_fingerprint": {split: result.fingerprint for split, result in results.items()},
        **({"source_fingerprint": loaders.fingerprint} if loaders.fingerprint else {}),
        **({"preprocessing": loaders.preprocessing} if loaders.preprocessing else {}),
        "classes": {t: named if len(named) <= _MOST_NAMED else len(named) for t, named in classes.items()},
        "label_fingerprint": {split: result.label_fingerprint for split, result in results.items()},
        "samples": {split: result.samples for split, result in results.items()},
        "left_out": {split: result.left_out for split, result in results.items() if result.left_out},
    }


def _score_attributes(results: Mapping[str, SplitResult], names: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Return the targets that the network's scores are compared with, how they match, and absent and small classes."""
    with_classifier = sorted({target for result in results.values() for target in result.errors})
    matched = {target: how for result in results.values() for target, how in result.matched.items()}
    few = {split: least_classes(result, names) for split, result in results.items()}
    return {
        "absent_classes": {split: result.absent for split, result in results.items() if any(result.absent.values())},
        "classifier": with_classifier or _why_no_classifier(results),
        **({"class_scores": matched} if matched else {}),
        **({"few_samples": {s: of_split for s, of_split in few.items() if of_split}} if any(few.values()) else {}),
    }


def _regression_attributes(results: Mapping[str, SplitResult], dimensions: Mapping[str, int]) -> dict[str, Any]:
    """Return the dimensions of regression targets, and how many samples have none; nothing for classes alone."""
    if not dimensions:
        return {}
    compared = sorted({target for result in results.values() for target in result.squares})
    missing = {split: result.without_target for split, result in results.items() if result.without_target}
    return {
        "regression": dict(dimensions),
        "regression_output": compared or "none: no output of the network is of the target",
        "without_target": missing,
    }


def _why_no_classifier(results: Mapping[str, SplitResult]) -> str:
    """Return why the network's own predictions are compared with no target."""
    result = next(iter(results.values()))
    if not result.scores:
        return "none: the network has no classifier of its own"
    counts = ", ".join(
        f"{result.scores[target]} scores for {count} classes of {target}"
        for target, count in result.classes.items()
        if target in result.scores
    )
    why = "".join(f"; {line}" for line in dict.fromkeys(result.matched.values()))
    return f"none: the network has {counts}{why}"


def _reached_metrics(prepared: Prepared) -> dict[str, Any]:
    """Return the measured metrics that the convention changes."""
    names = reached(prepared.metrics.convention)
    measured = [metric.name for metric in prepared.metrics.metrics if metric.name in names]
    return {"convention_reaches": measured} if names else {}


def _precision(model: nn.Module) -> str:
    parameter = next(model.parameters(), None)
    return "none" if parameter is None else str(parameter.dtype).removeprefix("torch.")
