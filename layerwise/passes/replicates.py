"""What each measurement of the same samples sees of a batch: all of it, all but one group, or shuffled labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from layerwise.errors import NotRepeatable
from layerwise.passes.jackknife_groups import JackknifeGroups
from layerwise.passes.request import PassRequest
from layerwise.statistics import State

__all__ = ["LabelShuffles", "Orders", "Replicates", "TargetView", "all_of", "joined"]

#: Labels ``(n,)`` or values ``(n, q)`` of a target, and which samples of the batch count, shape ``(n,)``; None for all.
TargetView = tuple[Tensor, Tensor | None]


def all_of(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """The samples that count by both; None for all."""
    if first is None or second is None:
        return second if first is None else first
    return first & second.to(first.device)


def joined(batches: Sequence[list[dict[str, TargetView]]]) -> list[dict[str, TargetView]]:
    """What every measurement sees of several batches, as of one."""
    return [
        {target: _one_after_other([part[target] for part in parts]) for target in parts[0]}
        for parts in zip(*batches, strict=True)
    ]


def _one_after_other(seen: Sequence[TargetView]) -> TargetView:
    device = seen[-1][0].device
    seen = [(own.to(device), counts) for own, counts in seen]
    values = torch.cat([own for own, _ in seen])
    if all(counts is None for _, counts in seen):
        return values, None
    every = [torch.ones(len(own), dtype=torch.bool, device=device) for own, _ in seen]
    return values, torch.cat(
        [own if counts is None else counts.to(device) for own, (_, counts) in zip(every, seen, strict=True)]
    )


class Orders(Protocol):
    """Labels in other orders, under each of which everything is measured again."""

    #: The labels that occur, ascending, of every target with classes.
    ids: dict[str, Tensor]

    def of(
        self, every: Mapping[str, TargetView], start: int, size: int, rows: Mapping[str, Tensor] | None = None
    ) -> list[dict[str, TargetView]]:
        """What is seen of the batch from sample `start` on, in each of the orders."""


class Replicates:
    """Every measurement's view of the batches of a run: of all samples, without each group, under each shuffle.

    Parameters
    ----------
    request : Request
    shuffles : Orders or None
    groups : mapping of str to Tensor, optional
        The group of every sample, by target, where it is known beforehand.
    """

    def __init__(
        self, request: PassRequest, shuffles: Orders | None, groups: Mapping[str, Tensor] | None = None
    ) -> None:
        self.groups = JackknifeGroups(request.jackknife, request.dimensions, groups)
        self.shuffles = shuffles
        self.vocabularies = request.vocabularies
        self.samples = 0

    def of(self, every: dict[str, TargetView], groups: Tensor | None = None) -> list[dict[str, TargetView]]:
        """What each sees of the next batch, by target; `groups` of its samples where they are known."""
        size = len(next(iter(every.values()))[0]) if every else 0
        start, self.samples = self.samples, self.samples + size
        shuffled = [] if self.shuffles is None else self.shuffles.of(every, start, size, self._rows_of_ids)
        return [every, *self._without_each(every, start, groups), *shuffled]

    def _without_each(
        self, every: Mapping[str, TargetView], start: int, groups: Tensor | None
    ) -> list[dict[str, TargetView]]:
        """A batch without each of the groups, by target."""
        count = self.groups.count
        if groups is not None:
            dealt = {target: groups.to(values.device) for target, (values, _) in every.items() if count}
        else:
            dealt = {target: self.groups.of(target, values, start) for target, (values, _) in every.items() if count}
        return [
            {target: (values, all_of(counts, dealt[target] != group)) for target, (values, counts) in every.items()}
            for group in range(count)
        ]

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


class LabelShuffles:
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
    own : Tensor
        The numbers of this process's samples, in the order in which they come, shape ``(n,)``.

    Attributes
    ----------
    ids : dict of str to Tensor
        The labels that occur, ascending, of every target with classes.
    """

    def __init__(self, labels: Mapping[str, Tensor], count: int, seed: int, own: Tensor) -> None:
        self.size = len(own)
        self.ids = {target: values.unique() for target, values in labels.items() if not values.is_floating_point()}
        self.labels = {target: _narrowed(values, self.ids.get(target)) for target, values in labels.items()}
        present = {target: _present(values) for target, values in labels.items()}
        whole = len(next(iter(labels.values()))) if labels else 0
        generator = torch.Generator().manual_seed(seed)
        self.orders: list[dict[str, Tensor]] = []
        for _ in range(count):
            order = torch.randperm(whole, generator=generator)
            self.orders.append(
                {
                    target: (order if there is None else _among(order, there))[own].int()
                    for target, there in present.items()
                }
            )

    def of(
        self, every: Mapping[str, TargetView], start: int, size: int, rows: Mapping[str, Tensor] | None = None
    ) -> list[dict[str, TargetView]]:
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
