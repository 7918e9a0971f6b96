"""Runs the passes over one split, one stage after the other, and returns its finished statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from layerwise.errors import EmptyData, NotRepeatable
from layerwise.network.network import Network
from layerwise.passes.batches_seen import digest_of
from layerwise.passes.class_sizes import check_class_sizes
from layerwise.passes.complexity import ComplexityPass
from layerwise.passes.feature_cache import FeatureCache
from layerwise.passes.first import FirstPass
from layerwise.passes.label_replicates import LabelReplicates
from layerwise.passes.positions.first import PositionsFirstPass
from layerwise.passes.positions.prepare import prepare_positions
from layerwise.passes.positions.second import PositionsSecondPass
from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult
from layerwise.passes.resume import ResumeState
from layerwise.passes.second import SecondPass
from layerwise.passes.split_batches import SplitBatches
from layerwise.passes.sweep import Sweep
from layerwise.runtime.progress import bar
from layerwise.runtime.statistics_device import statistics_device

__all__ = ["run_split"]


def run_split(
    network: Network,
    loader: Iterable[Any],
    request: PassRequest,
    split: str = "",
    train: SplitResult | None = None,
    resume_state: ResumeState | None = None,
    beforehand: LabelReplicates | None = None,
) -> SplitResult:
    """Sweep a split once or twice and finish its statistics.

    Parameters
    ----------
    network : Network
    loader : iterable of batches
        Under `torch.distributed`, a loader with a `DistributedSampler` is one process's share
        (`layerwise.runtime.distributed`).
    request : PassRequest
    split : str
        The name of the split, for the progress bar.
    train : SplitResult, optional
        The training split, whose class means and probe judge the samples; the split itself by default.
    resume_state : ResumeState, optional
        Where the passes keep their state, and go on from.
    beforehand : LabelReplicates, optional
        The shuffles and groups that `read_labels` returned.

    Raises
    ------
    EmptyData, InvalidLabels, NonFiniteFeatures, NotRepeatable
    """
    batches = SplitBatches(network, loader, split)
    with _feature_cache(request, split, resume_state) as feature_cache:
        first, digest = _first_pass(batches, request, feature_cache, beforehand)
        sweep = Sweep(batches, request, resume_state, digest)
        result, samples = _run_first(sweep, first, train, beforehand)
        check_class_sizes(result, request, split)
        if "complexity" in request.needs:
            _run_derivatives(sweep, result, samples)
        if request.plan.passes == 1:
            return result
        second = first.second(result, train, shared=batches.shared)
        if feature_cache is not None and request.plan.keeps_features:
            second.read(feature_cache, bar(request.readings, f"{split} pass 2"))
        else:
            _run_second(sweep, second, samples)
        return second.result


@contextmanager
def _feature_cache(request: PassRequest, split: str, resume_state: ResumeState | None) -> Iterator[FeatureCache | None]:
    """Open the feature cache that the plan asks for, if any."""
    where = request.plan.feature_cache
    if not where:
        yield None
        return
    with FeatureCache(where, None if resume_state is None else resume_state.feature_folder(split)) as feature_cache:
        yield feature_cache


def _first_pass(
    batches: SplitBatches, request: PassRequest, feature_cache: FeatureCache | None, beforehand: LabelReplicates | None
) -> tuple[FirstPass | PositionsFirstPass, int]:
    """Choose the kind of passes; return pass 1, which makes pass 2, and the digest of what was read before it."""
    device = statistics_device(batches.network.device)
    if not request.positions:
        return FirstPass(request, feature_cache, device, beforehand), digest_of(beforehand)
    prepared = prepare_positions(batches, request)
    return PositionsFirstPass(request, feature_cache, device, prepared), digest_of([beforehand, prepared])


@dataclass(frozen=True)
class _Samples:
    """The samples of this process that pass 1 took in: how many, and a fingerprint of their order."""

    count: int
    order: int

    def check_repeated(self, count: int) -> None:
        """Raise `NotRepeatable` if another run took in another number of samples."""
        if count != self.count:
            raise NotRepeatable(
                f"the loader gave {self.count} samples in the first run and {count} in the second; "
                "give a loader that repeats itself"
            )


def _run_first(
    sweep: Sweep, first: FirstPass | PositionsFirstPass, train: SplitResult | None, beforehand: LabelReplicates | None
) -> tuple[SplitResult, _Samples]:
    """Run pass 1 and finish its statistics."""
    sweep.first(first)
    samples = _Samples(first.samples, first.fingerprint.order)
    if beforehand is not None:
        _Samples(beforehand.samples, 0).check_repeated(samples.count)
    first.merge(sweep.batches.shared)
    if not first.samples:
        raise EmptyData(f"split {sweep.batches.split!r} is empty: its loader gave no batch")
    return first.finish(train), samples


def _run_derivatives(sweep: Sweep, result: SplitResult, samples: _Samples) -> None:
    """Run the pass that takes derivatives; put the complexity into the evidence."""
    complexity = ComplexityPass(sweep.request, result, sweep.batches.network)
    sweep.derivatives(complexity)
    samples.check_repeated(complexity.samples)
    complexity.finish(sweep.batches.shared)


def _run_second(sweep: Sweep, second: SecondPass | PositionsSecondPass, samples: _Samples) -> None:
    """Run pass 2 through the network again; put its statistics into the evidence."""
    sweep.second(second)
    samples.check_repeated(second.samples)
    if sweep.request.ordered and second.fingerprint.order != samples.order:
        raise NotRepeatable(
            "standard errors and shuffled labels take the same samples in the same order in both runs, and the "
            "second time the loader gave others or in another; give one without shuffling or augmentation"
        )
    for reading in sweep.request.readings:
        second.finish(reading)
