"""What each measurement of the same samples sees of a batch: all of it, all but one group, or shuffled labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from layerwise.errors import NotRepeatable
from layerwise.passes.request import Request
from layerwise.shares import place
from layerwise.statistics import State

__all__ = ["Groups", "Seen", "Shuffles", "Views", "all_of", "joined", "numbered"]

#: Labels ``(n,)`` or values ``(n, q)`` of a target, and which samples of the batch count, shape ``(n,)``; None for all.
Seen = tuple[Tensor, Tensor | None]


def all_of(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """The samples that count by both; None for all."""
    if first is None or second is None:
        return second if first is None else first
    return first & second.to(first.device)


def joined(batches: Sequence[list[dict[str, Seen]]]) -> list[dict[str, Seen]]:
    """What every measurement sees of several batches, as of one."""
    return [
        {target: _one_after_other([part[target] for part in parts]) for target in parts[0]}
        for parts in zip(*batches, strict=True)
    ]


def _one_after_other(seen: Sequence[Seen]) -> Seen:
    device = seen[-1][0].device
    seen = [(own.to(device), counts) for own, counts in seen]
    values = torch.cat([own for own, _ in seen])
    if all(counts is None for _, counts in seen):
        return values, None
    every = [torch.ones(len(own), dtype=torch.bool, device=device) for own, _ in seen]
    return values, torch.cat(
        [own if counts is None else counts.to(device) for own, (_, counts) in zip(every, seen, strict=True)]
    )


class Views:
    """Every measurement's view of the batches of a run: of all samples, without each group, under each shuffle.

    Parameters
    ----------
    request : Request
    shuffles : Shuffles or None
    """

    def __init__(self, request: Request, shuffles: Shuffles | None) -> None:
        self.groups = Groups(request)
        self.shuffles = shuffles
        self.vocabularies = request.vocabularies
        self.samples = 0

    def of(self, every: dict[str, Seen]) -> list[dict[str, Seen]]:
        """What each sees of the next batch, by target."""
        size = len(next(iter(every.values()))[0]) if every else 0
        start, self.samples = self.samples, self.samples + size
        shuffled = [] if self.shuffles is None else self.shuffles.of(every, start, size, self._rows_of_ids)
        return [every, *self.groups.without(every), *shuffled]

    @cached_property
    def _rows_of_ids(self) -> dict[str, Tensor]:
        """The rows of the ids that are shuffled, by target."""
        ids = {} if self.shuffles is None else self.shuffles.ids
        return {target: self.vocabularies[target].encode(own) for target, own in ids.items()}

    def state(self) -> State:
        """How far the run is."""
        return {"samples": self.samples, "dealt": self.groups.dealt, "turns": self.groups.turns}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.samples = state["samples"]
        self.groups.dealt, self.groups.turns = dict(state["dealt"]), dict(state["turns"])


class Groups:
    """Deals samples out to groups, each of which one measurement leaves out.

    The k-th sample of the c-th class that is met goes to group ``(k + c) mod G``: whatever the batches and the names of
    classes, a class of two samples and more is in two groups at least, and few samples of many classes fill all groups
    alike. Samples of a regression target are of one class. Processes that share the samples begin with a group of their
    own.

    Parameters
    ----------
    request : Request

    Attributes
    ----------
    dealt : dict of str to Tensor
        Samples of each class so far, by target: where an interrupted run goes on.
    turns : dict of str to Tensor
        When each class was first met, counted in classes; -1 for those that were not.
    """

    def __init__(self, request: Request) -> None:
        self.count = request.jackknife
        self.regression = request.dimensions
        self.dealt: dict[str, Tensor] = {}
        self.turns: dict[str, Tensor] = {}

    def without(self, seen: Mapping[str, Seen]) -> list[dict[str, Seen]]:
        """A batch without each of the groups, by target."""
        if not self.count:
            return []
        groups = {target: self._deal(target, values) for target, (values, _) in seen.items()}
        return [
            {target: (values, all_of(counts, groups[target] != group)) for target, (values, counts) in seen.items()}
            for group in range(self.count)
        ]

    def _deal(self, target: str, values: Tensor) -> Tensor:
        """The group of every sample, shape ``(n,)``."""
        labels = torch.zeros(len(values), dtype=torch.int64) if target in self.regression else values.cpu()
        numbers, self.dealt[target] = numbered(labels, self.dealt.get(target, labels.new_zeros(0)))
        turns = self.turns[target] = _turns(labels, self.turns.get(target, labels.new_zeros(0)))
        groups = (numbers + turns[labels] + place()[0]) % self.count
        return groups.to(values.device)


def _turns(labels: Tensor, before: Tensor) -> Tensor:
    """When each class was first met, with the labels of another batch; -1 for those that were not."""
    missing = int(labels.max()) + 1 - len(before)
    turns = torch.cat([before, before.new_full((missing,), -1)]) if missing > 0 else before.clone()
    fresh = labels[turns[labels] < 0]
    present, classes = fresh.unique(return_inverse=True)
    first = torch.full_like(present, len(fresh)).scatter_reduce_(0, classes, torch.arange(len(fresh)), "amin")
    turns[present[first.argsort()]] = torch.arange(len(present)) + int((turns >= 0).sum())
    return turns


def numbered(labels: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """The number of every sample within its class, shape ``(n,)``, and samples of each class with them.

    Parameters
    ----------
    labels : Tensor
        Shape ``(n,)``.
    before : Tensor
        Samples of each class before them; of as many classes as were met.
    """
    missing = int(labels.max()) + 1 - len(before)
    if missing > 0:
        before = torch.cat([before, before.new_zeros(missing)])
    order = labels.argsort(stable=True)
    counts = labels.bincount(minlength=len(before))
    within = torch.empty_like(labels)
    within[order] = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts)[labels[order]]
    return before[labels] + within, before + counts


class Shuffles:
    """Labels and regression targets of one split in other orders: each as often as it is, with some other sample.

    One permutation of all samples shuffles every target; samples that have no target keep none. It is drawn from the
    seed and the number of the samples: batches do not change it.

    Parameters
    ----------
    labels : mapping of str to Tensor
        Of all samples, by target: labels of shape ``(N,)``, or values of floating type ``(N, q)``, which are none where
        one is not finite.
    count : int
        How many orders there are.
    seed : int
    start, size : int
        Which of the samples are this process's.

    Attributes
    ----------
    ids : dict of str to Tensor
        The labels that occur, ascending, of every target with classes.
    """

    def __init__(self, labels: Mapping[str, Tensor], count: int, seed: int, start: int, size: int) -> None:
        self.size = size
        self.ids = {target: values.unique() for target, values in labels.items() if not values.is_floating_point()}
        self.labels = {target: _narrowed(values, self.ids.get(target)) for target, values in labels.items()}
        present = {target: _present(values) for target, values in labels.items()}
        whole = len(next(iter(labels.values()))) if labels else 0
        generator = torch.Generator().manual_seed(seed)
        self.orders: list[dict[str, Tensor]] = []
        for _ in range(count):
            order = torch.randperm(whole, generator=generator)
            own = order[start : start + size].int()
            self.orders.append(
                {
                    target: own if there is None else _among(order, there)[start : start + size].int()
                    for target, there in present.items()
                }
            )

    def of(
        self, every: Mapping[str, Seen], start: int, size: int, rows: Mapping[str, Tensor] | None = None
    ) -> list[dict[str, Seen]]:
        """What is seen of the batch from sample `start` on, in each of the orders.

        Parameters
        ----------
        every : mapping of str to Seen
            What is seen of the batch as it is.
        start, size : int
        rows : mapping of str to Tensor, optional
            What stands for each of the ids of a target; the ids themselves by default.

        Raises
        ------
        NotRepeatable
            If there were not so many samples when the labels were looked at.
        """
        if start + size > self.size:
            raise NotRepeatable(
                f"the loader gave {self.size} samples when their labels were looked at, and more when the network ran; "
                "give a loader that repeats itself"
            )
        known = self.ids if rows is None else rows

        def values(target: str, order: Tensor) -> Tensor:
            own = self.labels[target][order[start : start + size].long()]
            return known[target][own.long()] if target in known else own

        return [
            {target: (values(target, order[target]), every[target][1]) for target in every} for order in self.orders
        ]


def _present(values: Tensor) -> Tensor | None:
    """The samples that have a target, shape ``(N,)``; None where all have."""
    there = torch.isfinite(values).all(1) if values.is_floating_point() else None
    return None if there is None or bool(there.all()) else there


def _among(order: Tensor, there: Tensor) -> Tensor:
    """A permutation of those samples alone, as they stand in one of all."""
    found = torch.arange(len(order))
    found[there] = order[there[order]]
    return found


def _narrowed(labels: Tensor, ids: Tensor | None) -> Tensor:
    """The place of every label among the ids, in few bytes; values as they are."""
    if ids is None:
        return labels
    return torch.searchsorted(ids, labels).to(torch.int16 if len(ids) < 1 << 15 else torch.int32)
