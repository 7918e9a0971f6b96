"""Runs the passes of one split and hands on finished statistics, layer by layer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.data.fingerprint import DataFingerprint
from layerwise.errors import EmptyData, NotRepeatable
from layerwise.features.read_features import reading_features
from layerwise.network.failures import in_batch, read_batches
from layerwise.network.network import Network
from layerwise.network.rows import first_samples
from layerwise.passes import (
    ComplexityPass,
    FirstPass,
    LabelReplicates,
    PassRequest,
    Places,
    PositionsFirstPass,
    PositionShuffles,
    PositionsSecondPass,
    SecondPass,
    SplitResult,
    draws,
    find_label_replicates,
    find_places,
)
from layerwise.passes.batches_seen import digest_of
from layerwise.passes.checks import checked_labels, checked_targets, where_not_finite
from layerwise.passes.class_sizes import check_class_sizes
from layerwise.passes.feature_cache import FeatureCache
from layerwise.passes.first_features import FirstFeatures, changed_layers, first_features
from layerwise.passes.positions.shuffles import shuffles_of_positions
from layerwise.passes.positions.streams import streams_of, token_labels
from layerwise.passes.positions.subsample import Draw
from layerwise.passes.resume import Resumable, ResumeState
from layerwise.runtime.distributed import (
    all_gather,
    dealt_indices,
    needs_sample_numbers,
    samples_of_this_process,
    why_unknown,
)
from layerwise.runtime.progress import bar
from layerwise.runtime.statistics_device import statistics_device
from layerwise.statistics.merging import merge_across_processes

__all__ = ["read_fingerprint", "read_labels", "read_token_ids", "run_split"]


def read_labels(network: Network, loader: Iterable[Any], request: PassRequest, split: str = "") -> LabelReplicates:
    """Read the labels and regression targets of a split, and no more, to shuffle them and to group the samples.

    Parameters
    ----------
    network, loader, request, split
        As for `run_split`.
    """
    own, indices = samples_of_this_process(loader), dealt_indices(loader)
    found: dict[str, list[Tensor]] = {}
    for number, batch in enumerate(_counted(network, loader, own, split, "labels")):
        for target, given in batch.labels.items():
            if target in request.dimensions:
                found.setdefault(target, []).append(checked_targets(given, target, request, number)[0].cpu())
            elif target in request.targets:
                found.setdefault(target, []).append(checked_labels(given, target, request.classes).cpu())
    labels = {target: torch.cat(parts) for target, parts in found.items()}
    if indices is None:
        return find_label_replicates(labels, request, split, shared=False)
    size = len(next(iter(labels.values()), ()))
    unknown = why_unknown(loader, indices, size)
    return find_label_replicates(labels, request, split, shared=True, indices=indices, unknown=unknown)


def read_fingerprint(network: Network, loader: Iterable[Any], split: str) -> tuple[int, DataFingerprint]:
    """Read a split without the network: its samples and their fingerprint, those of all processes."""
    own = samples_of_this_process(loader)
    found, samples = DataFingerprint(), 0
    for batch in _counted(network, loader, own, split, "fingerprint"):
        found.update(batch.inputs, batch.labels)
        samples += batch.size
    shared = own is not None
    return sum(all_gather(samples, shared)), merge_across_processes(found, DataFingerprint, network.device, shared)


def read_token_ids(
    network: Network, batches: Iterable[Any], targets: Collection[str], ignored: Collection[int], split: str
) -> dict[str, Tensor]:
    """Read the labels of a split's tokens without the network: the ids that occur in this process, by target.

    Parameters
    ----------
    network : Network
    batches : iterable
        A run of the split's loader.
    targets : collection of str
    ignored : collection of int
        Labels that do not count.
    split : str
    """
    found = {target: torch.zeros(0, dtype=torch.int64) for target in targets}
    for batch in _counted(network, batches, samples_of_this_process(batches), split, "labels"):
        for target in found.keys() & batch.labels.keys():
            ids = token_labels(batch, target, ignored).cpu().long()
            found[target] = torch.cat([found[target], ids]).unique()
    return found


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
    request : Request
    split : str
        Its name, for the progress bar.
    train : SplitResult, optional
        The training split, whose class means and probe judge the samples; the split itself by default.
    resume_state : ResumeState, optional
        Where what is accumulated is kept, shard by shard, and goes on from.
    beforehand : Beforehand, optional
        What a look at the labels gave (`read_labels`).

    Raises
    ------
    EmptyData, InvalidLabels, NonFiniteFeatures
        As the data goes by.
    """
    own = samples_of_this_process(loader)
    shared = own is not None
    device = statistics_device(network.device)
    with ExitStack() as stack:
        bank = None
        if request.plan.bank:
            bank = stack.enter_context(
                FeatureCache(request.plan.bank, None if resume_state is None else resume_state.bank(split))
            )
        # Tokens and pixels are counted before any is measured, if some of each class are to be drawn.
        drawn = draws(request, _counted(network, loader, own, split, "labels"), shared) if request.apart else []
        places, moved = _look_at_positions(network, loader, request, split, drawn) if request.apart else (None, [])
        sweep = _Sweep(
            network, loader, request, split, own, resume_state, digest_of([beforehand, drawn, places, moved])
        )
        first: FirstPass | PositionsFirstPass
        if request.apart:
            first = PositionsFirstPass(request, bank, device, drawn, places, moved)
        else:
            first = FirstPass(request, bank, device, beforehand)
        sweep.first(first)
        seen, order = first.samples, first.fingerprint.order
        if beforehand is not None:
            _check_repeated(beforehand.samples, seen)
        first.merge(shared)
        if not first.samples:
            raise EmptyData(f"split {split!r} is empty: its loader gave no batch")
        result = first.finish(train)
        result.order = "" if places is None else places.order
        check_class_sizes(result, request, split)
        if "complexity" in request.needs:
            deriving = ComplexityPass(request, result, network)
            sweep.derivatives(deriving)
            _check_repeated(seen, deriving.samples)
            deriving.finish(shared)
        if request.plan.passes == 1:
            return result
        second: SecondPass | PositionsSecondPass
        if isinstance(first, PositionsFirstPass):
            second = PositionsSecondPass(first, train, drawn, shared=shared)
        else:
            second = SecondPass(request, result, train or result, device, shared=shared, beforehand=beforehand)
        if bank is not None and request.plan.keeps_features:
            second.read(bank, bar(request.readings, f"{split} pass 2"))
            return second.result
        sweep.second(second)
        _check_repeated(seen, second.samples)
        if request.ordered and second.fingerprint.order != order:
            raise NotRepeatable(
                "standard errors and shuffled labels take the same samples in the same order in both runs, and the "
                "second time the loader gave others or in another; give one without shuffling or augmentation"
            )
        for reading in request.readings:
            second.finish(reading)
        return second.result


def _look_at_positions(
    network: Network, loader: Iterable[Any], request: PassRequest, split: str, drawn: Sequence[Draw | None]
) -> tuple[Places | None, list[PositionShuffles]]:
    """The places of this process's texts or pictures, and shuffles of their labels, as far as they are needed."""
    if not (request.null or (request.jackknife and needs_sample_numbers(loader))):
        return None, []
    own, indices = samples_of_this_process(loader), dealt_indices(loader)

    def number(size: int) -> Places:
        unknown = "" if indices is None else why_unknown(loader, indices, size)
        return find_places(size, shared=own is not None, indices=indices, unknown=unknown)

    batches = _counted(network, loader, own, split, "labels")
    if not request.null:
        return number(sum(batch.size for batch in batches)), []
    return shuffles_of_positions(request, streams_of(request), drawn, batches, split, number)


@dataclass(frozen=True)
class _Sweep:
    """Runs of one split's batches through the network, each from where it was interrupted."""

    network: Network
    loader: Iterable[Any]
    request: PassRequest
    split: str
    own: int | None
    resume_state: ResumeState | None
    beforehand: int

    def first(self, holder: FirstPass | PositionsFirstPass) -> None:
        """Run pass 1, and record what the network makes of the first batch."""
        batches = self._batches("pass 1", holder)
        unknown = self.resume_state is not None and self.resume_state.features is None
        taken = FirstFeatures()
        receive = taken.before(holder.receive) if unknown else holder.receive
        with reading_features(self.network, self.request.readings, receive) as run:
            for number, batch in batches:
                with self._batch("pass 1", number):
                    holder.begin(batch, number)
                    answer = run(batch)
                    if unknown and self.resume_state is not None and not taken.ended:
                        taken.end(answer)
                        self.resume_state.features = taken.sums
                    holder.end(answer)
                    if not holder.finite:
                        raise where_not_finite(self.request, self.network, batch, number)

    def derivatives(self, holder: ComplexityPass) -> None:
        """Run the pass that derives."""
        batches = self._batches("derivatives", holder)
        with holder.open():
            for number, batch in batches:
                with self._batch("derivatives", number):
                    holder.take(batch, number)

    def second(self, holder: SecondPass | PositionsSecondPass) -> None:
        """Run pass 2 through the network once more."""
        batches = self._batches("pass 2", holder)
        with reading_features(self.network, self.request.readings, holder.receive) as run:
            for number, batch in batches:
                with self._batch("pass 2", number):
                    holder.begin(batch)
                    holder.end(run(batch))

    def _batch(self, step: str, number: int) -> AbstractContextManager[None]:
        return in_batch(self.network.model, self.split, step, number)

    def _batches(self, step: str, holder: Resumable) -> Iterator[tuple[int, Batch]]:
        """The batches of a pass with their numbers, up to the samples that count, from where it was interrupted."""
        counted = _counted(self.network, self.loader, self.own, self.split, step)
        if self.resume_state is None:
            return enumerate(counted)
        return self.resume_state.resumed(
            self.split, step, counted, holder, beforehand=self.beforehand, changed=self._changed_layers
        )

    def _changed_layers(self, batch: Batch) -> list[str]:
        """The layers whose features of the first batch are not what they were when it was taken in."""
        before = None if self.resume_state is None else self.resume_state.features
        if before is None:
            return []
        return changed_layers(before, first_features(self.network, self.request.readings, batch), self.network)


def _check_repeated(seen: int, again: int) -> None:
    if again != seen:
        raise NotRepeatable(
            f"the loader gave {seen} samples in the first run and {again} in the second; "
            "give a loader that repeats itself"
        )


def _counted(network: Network, loader: Iterable[Any], own: int | None, split: str, step: str) -> Iterator[Batch]:
    """The batches, up to the samples that count."""
    left = own
    for batch in read_batches(network.batches(bar(loader, f"{split} {step}")), split, step):
        if not batch.size:
            continue
        if left is None:
            yield batch
            continue
        if left > 0:
            yield batch if batch.size <= left else first_samples(batch, left)
        left -= batch.size
