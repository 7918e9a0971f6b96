"""Metrics of given features through the library's own statistics, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from layerwise import metrics
from layerwise.network.graph.map_weights import Weights
from layerwise.statistics import (
    CenterProjections,
    Centers,
    ClassMoments,
    FourthMoment,
    ProbeErrors,
    TargetAccumulator,
    fit_readout,
    fit_ridge,
    noise_variance,
)

RIDGE = 1e-3


def split(features: Tensor, labels: Tensor, sizes: int | Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Cut features and labels into batches."""
    return list(zip(features.split(sizes), labels.split(sizes), strict=True))


def moments_of(batches: list[tuple[Tensor, Tensor]], classes: int = 0, scatter: bool = True) -> ClassMoments:
    """Accumulate batches."""
    accumulated = ClassMoments(classes, scatter=scatter)
    for features, labels in batches:
        accumulated.update(features, labels)
    return accumulated


def evidence_of(
    features: Tensor,
    labels: Tensor,
    *,
    sizes: int | Sequence[int] = 32,
    train: tuple[Tensor, Tensor] | None = None,
    predictions: Tensor | None = None,
    classifier: np.ndarray | None = None,
    next_map: np.ndarray | None = None,
    previous_map: np.ndarray | None = None,
    convention: str | metrics.Convention = "default",
) -> dict[str, object]:
    """Everything that a metric can ask for."""
    classes = int(labels.max()) + 1
    batches = split(features, labels, sizes)
    moments = moments_of(batches, classes).finish()
    own = Centers.of(moments, classes)
    reference, judged = moments, own
    if train is not None:
        reference = moments_of(split(*train, sizes)).finish()
        judged = Centers.of(reference, int(train[1].max()) + 1).covering(classes)
    ridge = fit_ridge(reference, RIDGE)
    judged = judged.beside(torch.from_numpy(ridge.weight))
    own = judged if train is None else own
    projections = CenterProjections(own, judged, ridge)
    probe = ProbeErrors(ridge)
    done = 0
    for batch, own_labels in batches:
        nearest, scores = projections.update(batch, own_labels)
        if predictions is not None:
            projections.compare(nearest, predictions[done : done + len(batch)])
        probe.update(scores, own_labels)
        done += len(batch)
    span, falls = projections.finish()
    fourth = FourthMoment(moments)
    for batch, _ in batches:
        fourth.update(batch)
    return {
        "convention": metrics.convention(convention),
        "classifier": classifier,
        "next_map": next_map,
        "weights": None if next_map is None else Weights(next_map, previous_map),
        "moments": moments,
        "sizes": moments.counts,
        "covariance": replace(moments, fourth=fourth.finish()),
        "span": replace(span, noise=noise_variance(moments, features.shape[1])),
        "nearest": falls,
        "probe": probe.finish(),
    }


def value(name: str, evidence: dict[str, object]) -> np.ndarray:
    """One metric, classes without samples left out."""
    moments = evidence["moments"]
    computed = metrics.compute(metrics.get(name), evidence, len(evidence["nearest"].counts))
    return computed[moments.classes] if computed.ndim else computed


def tensors(features: np.ndarray, labels: np.ndarray, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Arrays as a network would have given them."""
    return torch.from_numpy(features).to(dtype), torch.from_numpy(np.asarray(labels, dtype=np.int64))


def targets_of(batches: list[tuple[Tensor, Tensor]]) -> TargetAccumulator:
    """Accumulate batches of features and regression targets."""
    accumulated = TargetAccumulator()
    for features, targets in batches:
        accumulated.update(features, targets)
    return accumulated


def regression_evidence_of(
    features: Tensor,
    targets: Tensor,
    *,
    sizes: int | Sequence[int] = 32,
    train: tuple[Tensor, Tensor] | None = None,
    unit: np.ndarray | None = None,
    head: np.ndarray | None = None,
    next_map: np.ndarray | None = None,
) -> dict[str, object]:
    """Everything that a regression metric can ask for."""
    moments = targets_of(split(features, targets, sizes)).finish()
    moments = moments if unit is None else moments.in_units(unit)
    reference = moments if train is None else targets_of(split(*train, sizes)).finish()
    return {"regression": moments, "readout": fit_readout(reference), "head": head, "next_map": next_map}
