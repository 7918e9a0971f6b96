"""From what pass 1 accumulated to the result of a split, with its replicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from layerwise.data.fingerprint import DataFingerprint
from layerwise.passes.batch_labels import BatchLabels
from layerwise.passes.first_accumulator import FirstAccumulator
from layerwise.passes.matching import leave_contested, match_classes
from layerwise.passes.network_errors import NetworkErrors
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.result import Key, SplitResult
from layerwise.passes.spans import Span

__all__ = ["count_split", "finish_first_pass"]


def count_split(
    request: PassRequest, labels: BatchLabels, network_errors: NetworkErrors, fingerprint: DataFingerprint
) -> SplitResult:
    """Return what is known of a split without any statistic of its features."""
    counts = labels.counts
    classes = {target: len(vocabulary) for target, vocabulary in labels.vocabularies.items()}
    result = SplitResult(
        samples=counts.samples,
        classes=classes,
        ids={target: vocabulary.ids.numpy() for target, vocabulary in labels.vocabularies.items()},
        counts={target: _padded(own, classes[target]) for target, own in counts.classes.items()},
        earlier=labels.earlier,
        scores=network_errors.scores,
        common=[target for target, common in network_errors.common.items() if common],
        left_out=counts.left_out,
        without_target=counts.without_target,
        fingerprint=str(fingerprint),
        label_fingerprint=fingerprint.of_labels,
    )
    match_classes(result, request)
    leave_contested([result])
    _judge_network(result, network_errors, result.rows, positions=request.positions)
    return result


def finish_first_pass(
    result: SplitResult,
    accumulators: Replicates[FirstAccumulator],
    network_errors: Replicates[NetworkErrors],
    spans: Mapping[str, Span],
    request: PassRequest,
    train: SplitResult | None,
) -> SplitResult:
    """Put the finished statistics of every measurement into the result; the accumulators are emptied.

    Parameters
    ----------
    result : SplitResult
        The counts of the split (`count_split`).
    accumulators : Replicates of FirstAccumulator
    network_errors : Replicates of NetworkErrors
    spans : mapping of str to Span
        Isometries of wide layers of few samples.
    request : PassRequest
    train : SplitResult, optional
        The split whose readout and units judge the regression targets; this one by default.
    """
    result.judged_by_itself = train is None
    accumulators.whole.finish(result, train or result, spans)
    result.spans = dict(spans)
    judges = None if train is None else train.replicates
    for number, (accumulator, errors) in enumerate(zip(accumulators.without, network_errors.without, strict=True)):
        part = _without_evidence(result)
        _judge_network(part, errors, result.rows, positions=request.positions)
        judge = part if judges is None else judges.without[number]
        accumulator.finish(part, judge, spans)
        part.missing_classes = judge.missing_classes | _lost_classes(part, result)
        part.standardize(judge)
        result.without.append(part)
    for number, accumulator in enumerate(accumulators.shuffled):
        part = _without_evidence(result)
        if not accumulator.scatter:
            part.totals = _totals(result)
        accumulator.finish(part, part if judges is None else judges.shuffled[number], spans)
        result.shuffled.append(part)
    result.standardize(train or result)
    return result


def _without_evidence(result: SplitResult) -> SplitResult:
    """The counts of a split for a replicate, which has other samples or labels."""
    return SplitResult(
        classes=result.classes,
        ids=result.ids,
        rows=result.rows,
        scores=result.scores,
        judged_by_itself=result.judged_by_itself,
        errors=dict(result.errors),
        squares=dict(result.squares),
    )


def _lost_classes(part: SplitResult, whole: SplitResult) -> set[Key]:
    """The (target, layer) pairs of which fewer classes have a sample than in the whole."""
    present = {key: len(own["moments"].classes) for key, own in whole.evidence.items() if "moments" in own}
    return {
        key
        for key, classes in present.items()
        if key not in part.evidence or len(part.evidence[key]["moments"].classes) < classes
    }


def _totals(result: SplitResult) -> dict[Key, Any]:
    """The moments whose covariance shuffled labels leave as it is."""
    return {
        key: evidence[kind]
        for key, evidence in result.evidence.items()
        for kind in ("covariance", "regression")
        if kind in evidence
    }


def _judge_network(
    result: SplitResult, network_errors: NetworkErrors, rows: Mapping[str, np.ndarray], *, positions: bool
) -> None:
    """Put the network's own errors into a result."""
    result.errors, result.squares = network_errors.errors(rows), network_errors.squares(rows)
    if positions:
        result.class_errors, result.mean_ious = network_errors.class_errors(rows), network_errors.mean_ious(rows)


def _padded(counts: Tensor, classes: int) -> np.ndarray:
    """Counts of all classes; the last ones are zero where they were not met."""
    return np.pad(counts.numpy(), (0, classes - len(counts)))
