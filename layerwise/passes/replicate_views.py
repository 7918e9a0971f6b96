"""What every measurement sees of a batch: all of it, all but one group, or shuffled labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

from torch import Tensor

from layerwise.passes.jackknife_groups import JackknifeGroups
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.target_views import TargetViews, count_in_both
from layerwise.statistics import State

__all__ = ["Orders", "ReplicateViews", "without_each_group"]


class Orders(Protocol):
    """Labels in other orders, under each of which everything is measured again."""

    #: The labels that occur, ascending, of every target with classes.
    ids: dict[str, Tensor]

    def of(
        self, views: TargetViews, start: int, size: int, rows: Mapping[str, Tensor] | None = None
    ) -> list[TargetViews]:
        """Return the views of the batch from sample `start` on, in each of the orders."""


class ReplicateViews:
    """Every measurement's view of the batches of a run, batch after batch.

    Parameters
    ----------
    request : PassRequest
    shuffles : Orders or None
    groups : mapping of str to Tensor, optional
        The group of every sample, by target, where it is known before the run.
    """

    def __init__(
        self, request: PassRequest, shuffles: Orders | None, groups: Mapping[str, Tensor] | None = None
    ) -> None:
        self.groups = JackknifeGroups(request.settings.jackknife, request.dimensions, groups)
        self.shuffles = shuffles
        self.vocabularies = request.vocabularies
        self.samples = 0

    def of(self, views: TargetViews, groups: Tensor | None = None) -> Replicates[TargetViews]:
        """Return the views of the next batch; `groups` of its samples where they are known."""
        size = len(next(iter(views.values()))[0]) if views else 0
        start, self.samples = self.samples, self.samples + size
        shuffled = [] if self.shuffles is None else self.shuffles.of(views, start, size, self._rows_of_ids)
        return Replicates(views, self._without_each_group(views, start, groups), shuffled)

    def _without_each_group(self, views: TargetViews, start: int, groups: Tensor | None) -> list[TargetViews]:
        if not self.groups.count:
            return []
        if groups is not None:
            dealt = {target: groups.to(values.device) for target, (values, _) in views.items()}
        else:
            dealt = {target: self.groups.of(target, values, start) for target, (values, _) in views.items()}
        return without_each_group(views, dealt, self.groups.count)

    @cached_property
    def _rows_of_ids(self) -> dict[str, Tensor]:
        """The rows of the ids that are shuffled, by target."""
        ids = {} if self.shuffles is None else self.shuffles.ids
        return {target: self.vocabularies[target].encode(labels) for target, labels in ids.items()}

    def state(self) -> State:
        """Return how far the run is."""
        return {"samples": self.samples, "dealt": self.groups.dealt, "turns": self.groups.turns}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.samples = state["samples"]
        self.groups.dealt, self.groups.turns = dict(state["dealt"]), dict(state["turns"])


def without_each_group(views: TargetViews, groups: Mapping[str, Tensor], count: int) -> list[TargetViews]:
    """Return the views of a batch without each of `count` groups; `groups` are those of its samples, by target."""
    return [
        {target: (values, count_in_both(counts, groups[target] != group)) for target, (values, counts) in views.items()}
        for group in range(count)
    ]
