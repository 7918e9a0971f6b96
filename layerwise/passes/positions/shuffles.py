"""Shuffles of the labels of tokens or pixels that keep neighbours together, whose labels are alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
import xxhash
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.errors import NotRepeatable
from layerwise.passes.label_replicates import Places
from layerwise.passes.positions.streams import Stream
from layerwise.passes.positions.subsample import Draw
from layerwise.passes.request import PassRequest
from layerwise.passes.target_views import TargetViews, count_in_both
from layerwise.runtime.distributed import all_gather

__all__ = ["PositionShuffles", "shuffles_of_positions"]


class PositionShuffles:
    """Labels of one target at one resolution, or values of a regression target, in other places.

    The labels of all tokens that count, one text after the other, are rotated by a random number of tokens; a token
    without a finite value keeps none. Each picture takes the whole label map of another; a pixel without a label there
    does not count.

    Parameters
    ----------
    target : str
    labels : Tensor
        The labels of all tokens, shape ``(M,)``, or of all pixels of all pictures, ``(n, h w)``, -1 for none; values of
        all tokens are of floating type, ``(M, q)``.
    own : Tensor
        The numbers of this process's positions among them, in the order in which they come, shape ``(m,)``.
    count, seed : int

    Attributes
    ----------
    ids : dict of str to Tensor
        The labels that occur, ascending; none for a regression target.
    """

    def __init__(self, target: str, labels: Tensor, own: Tensor, count: int, seed: int) -> None:
        self.target = target
        self.own = own
        self.size = len(own)
        self.ids = {} if labels.is_floating_point() else {target: labels[labels >= 0].unique()}
        self.labels = labels if labels.is_floating_point() else _small(labels, self.ids[target])
        # Pictures are moved whole.
        self.width = 0 if labels.is_floating_point() or labels.ndim == 1 else labels.shape[1]
        self.present = torch.isfinite(labels).all(1) if labels.is_floating_point() else labels >= 0
        generator = torch.Generator().manual_seed(seed)
        whole = len(labels)
        if not self.width:
            # The tokens that are rotated, and the place of each among them.
            self.rotated, self.places = self.present.nonzero()[:, 0], self.present.cumsum(0) - 1
            whole = len(self.rotated)
        self.orders = [
            torch.randperm(whole, generator=generator)
            if self.width
            else torch.randint(1, max(whole, 2), (1,), generator=generator)
            for _ in range(count)
        ]

    def of(
        self, views: TargetViews, start: int, size: int, rows: Mapping[str, Tensor] | None = None
    ) -> list[TargetViews]:
        """Return the views of the positions from `start` on, in each of the orders, as `LabelShuffles.of` does."""
        if start + size > self.size:
            raise NotRepeatable(
                f"the loader gave {self.size} positions when their labels were read, and more when the network ran; "
                " give a loader that repeats itself"
            )
        if self.target not in views:
            return [{} for _ in self.orders]
        numbers = self.own[start : start + size]
        counts = views[self.target][1]
        if self.target not in self.ids:
            return [{self.target: (self.labels[self._moved(numbers, order)], counts)} for order in self.orders]
        known = (self.ids if rows is None else rows)[self.target]
        found = []
        for order in self.orders:
            own = self.labels.flatten()[self._moved(numbers, order)].long()
            labelled = None if bool((own >= 0).all()) else own >= 0
            found.append({self.target: (known[own.clamp_min(0)], count_in_both(counts, labelled))})
        return found

    def _moved(self, numbers: Tensor, order: Tensor) -> Tensor:
        """The positions whose labels move to those of `numbers`."""
        if self.width:
            return order[numbers // self.width] * self.width + numbers % self.width
        if not len(self.rotated):
            return numbers
        rotated = self.rotated[(self.places[numbers] + order) % len(self.rotated)]
        return torch.where(self.present[numbers], rotated, numbers)


def _small(labels: Tensor, ids: Tensor) -> Tensor:
    """The place of every label among the ids, in few bytes; -1 for none."""
    rows = torch.searchsorted(ids, labels)
    return torch.where(labels >= 0, rows, -1).to(torch.int16 if len(ids) < 1 << 15 else torch.int32)


def shuffles_of_positions(
    request: PassRequest,
    streams: Sequence[Stream],
    draws: Sequence[Draw | None],
    batches: Iterable[Batch],
    split: str,
    number_samples: Callable[[int], Places],
) -> tuple[Places, list[PositionShuffles]]:
    """Read the labels of a split once, to number its samples and shuffle the labels of each stream.

    Every process must call it.

    Parameters
    ----------
    request : PassRequest
    streams : sequence of Stream
    draws : sequence of Draw or None
        What draws the positions of each.
    batches : iterable of Batch
    split : str
    number_samples : callable
        Numbers the texts or pictures of this process, as many as it is called with, among those of all.
    """
    readers = [
        _LabelReader(stream, None if draw is None else draw.again())
        for stream, draw in zip(streams, draws, strict=True)
    ]
    samples = 0
    for batch in batches:
        for reader in readers:
            reader.take(batch, samples)
        samples += batch.size
    places = number_samples(samples)
    seed = xxhash.xxh3_64_intdigest(f"{request.settings.seed} {split}".encode()) % 2**63
    shuffles = []
    for reader in readers:
        labels, own = reader.placed(places)
        shuffles.append(PositionShuffles(reader.stream.target, labels, own, request.settings.null, seed))
    return places, shuffles


class _LabelReader:
    """Collects the labels of one stream, and where each position lies.

    Attributes
    ----------
    labels : list of Tensor
        Of the positions of each batch; of pictures the whole label maps.
    inputs, within : list of Tensor
        The number of each position's text or picture in this process, and of pixels the place within the picture.
    """

    def __init__(self, stream: Stream, draw: Draw | None) -> None:
        self.stream = stream
        self.draw = draw
        self.labels: list[Tensor] = []
        self.inputs: list[Tensor] = []
        self.within: list[Tensor] = []

    def take(self, batch: Batch, samples: int) -> None:
        """Take in a batch, before which there were `samples` texts or pictures."""
        selected = self.stream.select(batch, self.draw)
        self.inputs.append(samples + selected.where[0].cpu())
        if self.stream.positions:
            self.within.append((selected.where[1] * selected.shape[2] + selected.where[2]).cpu())
            self.labels.append(self.stream.label_maps(batch).flatten(1).cpu())
        else:
            labels = selected.batch.labels[self.stream.target].cpu()
            self.labels.append(labels.reshape(len(labels), -1) if self.stream.regression else labels)

    def placed(self, places: Places) -> tuple[Tensor, Tensor]:
        """Return the labels of all processes in the order of the data set, and the numbers of this one's positions."""
        # A process without a sample takes part all the same.
        labels = torch.cat(self.labels) if self.labels else None
        nothing = torch.zeros(0, dtype=torch.int64)
        inputs = places.own[torch.cat([nothing, *self.inputs])]
        sent = places.own if self.stream.positions else inputs
        every = all_gather((labels, sent), places.shared)
        whole = torch.cat([part for part, _ in every if part is not None])
        order = torch.cat([numbers for _, numbers in every]).argsort(stable=True)
        if self.stream.positions:
            return whole[order], inputs * whole.shape[1] + torch.cat([nothing, *self.within])
        before = sum(len(numbers) for _, numbers in every[: places.rank])
        return whole[order], order.argsort()[before : before + len(inputs)]
