"""Measures kept samples of one wide layer, through their span or a projection, by the passes that measure all."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.features.reading import LayerReading
from layerwise.network.answer import Answer
from layerwise.passes.feature_cache import FeatureCache
from layerwise.passes.first import FirstPass
from layerwise.passes.memory import ENOUGH
from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult
from layerwise.passes.second import SecondPass

__all__ = ["measure_part"]

_CPU = torch.device("cpu")


def measure_part(
    request: PassRequest,
    reading: LayerReading,
    features: Tensor,
    labels: Mapping[str, Tensor],
    train: SplitResult | None,
    *,
    exact: bool,
) -> SplitResult:
    """Measure some samples of one layer.

    Parameters
    ----------
    request : PassRequest
        The request for all samples.
    reading : LayerReading
    features : Tensor
        Shape ``(m, d)``.
    labels : mapping of str to Tensor
        Labels or regression targets.
    train : SplitResult, optional
        The result for the training split, which judges; None for the training split itself.
    exact : bool
        Whether through the span of the samples, and not the projection.
    """
    part_request = _request_of_part(request, reading, exact=exact)
    with FeatureCache("memory") as feature_cache:
        first = FirstPass(part_request, feature_cache, _CPU)
        first.counts_network_errors = False
        for start in range(0, len(features), ENOUGH):
            some = slice(start, start + ENOUGH)
            batch = Batch(None, {target: values[some] for target, values in labels.items()}, len(features[some]))
            first.label(batch, start // ENOUGH)
            first.receive(reading, features[some])
            first.end(Answer(None, 0, {}))
        moved = {target: torch.arange(len(vocabulary)) for target, vocabulary in part_request.vocabularies.items()}
        first.merge(shared=False, moved=moved)
        result = first.finish(train)
        if part_request.plan.passes == 2:
            second = SecondPass(part_request, result, train or result, _CPU)
            second.read(feature_cache, [reading])
    # Spans read from the cache, which is closed.
    result.spans.clear()
    return result


def _request_of_part(request: PassRequest, reading: LayerReading, *, exact: bool) -> PassRequest:
    plan = replace(request.plan, second="memory", spans="memory" if exact else "", samples=None, compared=0)
    return replace(
        request,
        readings=[reading],
        plan=plan,
        vocabularies={target: copy(vocabulary) for target, vocabulary in request.vocabularies.items()},
        # The kept positions are samples like any other.
        settings=replace(
            request.settings, jackknife=0, null=0, reduce="auto", samples_per_class=None, ignore_index=None
        ),
    )
