"""What the passes over tokens or pixels read of the labels before they run: draws, places and shuffles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.passes.label_replicates import Places, find_places
from layerwise.passes.positions.shuffles import PositionShuffles, shuffles_of_positions
from layerwise.passes.positions.streams import streams_of
from layerwise.passes.positions.subsample import Draw
from layerwise.passes.request import PassRequest
from layerwise.passes.split_batches import SplitBatches
from layerwise.runtime.distributed import (
    all_gather,
    dealt_indices,
    needs_sample_numbers,
    of_lower_ranks,
    why_unknown,
)

__all__ = ["PreparedPositions", "prepare_positions"]


@dataclass(frozen=True)
class PreparedPositions:
    """What is known of the tokens or pixels of this process before they run.

    Attributes
    ----------
    draws : sequence of Draw or None
        What draws the samples of each stream; None where all samples count.
    places : Places or None
        The numbers of this process's texts or pictures, where they are needed.
    shuffles : sequence of PositionShuffles
        Shuffled labels of each stream; none where chance is not measured.
    """

    draws: Sequence[Draw | None]
    places: Places | None = None
    shuffles: Sequence[PositionShuffles] = field(default_factory=list)


def prepare_positions(batches: SplitBatches, request: PassRequest) -> PreparedPositions:
    """Read the labels of a split as often as draws, places and shuffles need; every process must call it."""
    streams = streams_of(request)
    draws: list[Draw | None] = [None] * len(streams)
    if request.settings.samples_per_class is not None:
        draws = _draws(request, request.settings.samples_per_class, batches.read("labels"), batches.shared)
    indices = dealt_indices(batches.loader)

    def number(size: int) -> Places:
        unknown = "" if indices is None else why_unknown(batches.loader, indices, size)
        return find_places(size, shared=batches.shared, indices=indices, unknown=unknown)

    if request.settings.null:
        places, shuffles = shuffles_of_positions(request, streams, draws, batches.read("labels"), batches.split, number)
        return PreparedPositions(draws, places, shuffles)
    if request.settings.jackknife and needs_sample_numbers(batches.loader):
        return PreparedPositions(draws, number(sum(batch.size for batch in batches.read("labels"))))
    return PreparedPositions(draws)


def _draws(request: PassRequest, limit: int, batches: Iterable[Batch], shared: bool) -> list[Draw | None]:
    """Count the samples of every class, and return what draws at most `limit` of them, for each stream."""
    streams = streams_of(request)
    counts: list[dict[int, int]] = [{} for _ in streams]
    for batch in batches:
        for stream_counts, stream in zip(counts, streams, strict=True):
            _add(stream_counts, stream.select(batch).batch.labels[stream.target])
    draws: list[Draw | None] = []
    for stream_counts in counts:
        every = all_gather(stream_counts, shared)
        ids = sorted({label for part in every for label in part})
        whole, before = (_sum(parts, ids) for parts in (every, of_lower_ranks(every)))
        draws.append(Draw(limit, request.settings.seed, whole, before, torch.tensor(ids, dtype=torch.int64)))
    return draws


def _add(counts: dict[int, int], labels: Tensor) -> None:
    """Count the samples of every class of a batch."""
    present, more = labels.unique(return_counts=True)
    for label, count in zip(present.tolist(), more.tolist(), strict=True):
        counts[label] = counts.get(label, 0) + count


def _sum(counts: Sequence[Mapping[int, int]], ids: Sequence[int]) -> Tensor:
    """Add the samples of every class over the parts, shape ``(C,)``."""
    return torch.tensor([sum(part.get(label, 0) for part in counts) for label in ids], dtype=torch.int64)
