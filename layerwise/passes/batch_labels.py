"""The labels and targets of each batch of pass 1: checked, counted, encoded, and as every measurement sees them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData
from layerwise.passes.checks import checked_labels, checked_targets
from layerwise.passes.label_replicates import LabelReplicates
from layerwise.passes.replicate_views import ReplicateViews
from layerwise.passes.replicates import Replicates
from layerwise.passes.request import PassRequest
from layerwise.passes.sample_counts import SampleCounts
from layerwise.passes.target_views import TargetViews
from layerwise.passes.vocabulary import Vocabulary, settle
from layerwise.statistics import State, restore, state_of
from layerwise.statistics.merging import merge_across_processes

__all__ = ["BatchLabels"]


class BatchLabels:
    """Reads the labels and regression targets of a split, batch by batch.

    Parameters
    ----------
    request : PassRequest
    counts : SampleCounts
        Counts the samples of each class.
    beforehand : LabelReplicates

    Attributes
    ----------
    labels : dict of str to Tensor
        The class ids of the batch at hand, by target.
    views : Replicates
        What every measurement sees of the batch at hand.
    groups : Tensor or None
        The jackknife group of each of its samples, where they are given.
    earlier : dict of str to int
        The classes of each target that earlier splits have.
    """

    def __init__(self, request: PassRequest, counts: SampleCounts, beforehand: LabelReplicates) -> None:
        self.request = request
        self.counts = counts
        self.vocabularies: dict[str, Vocabulary] = {
            target: request.vocabularies[target] for target in request.targets if target in request.vocabularies
        }
        self.earlier = {target: vocabulary.settled for target, vocabulary in self.vocabularies.items()}
        self._replicates = ReplicateViews(request, beforehand.shuffles, beforehand.groups)
        self.labels: dict[str, Tensor] = {}
        self.views: Replicates[TargetViews] = Replicates({})
        self.groups: Tensor | None = None

    def take(self, batch: Batch, number: int, groups: Tensor | None = None) -> None:
        """Take the labels of a batch.

        Raises
        ------
        InvalidData, InvalidLabels
            If the labels are of other targets, or no classes.
        BudgetExceeded
            If there are more classes than there is memory for.
        """
        if set(batch.labels) != set(self.request.targets):
            raise InvalidData(
                f"a batch has labels of {', '.join(batch.labels)}, the first had labels of "
                f"{', '.join(self.request.targets)}"
            )
        regression = self.request.dimensions
        self.labels = {
            target: checked_labels(labels, target, self.request.classes)
            for target, labels in batch.labels.items()
            if target not in regression
        }
        targets = {
            target: checked_targets(values, target, self.request, number)
            for target, values in batch.labels.items()
            if target in regression
        }
        for target, (_, present) in targets.items():
            if present is not None:
                self.counts.leave_out_of_target(target, int((~present).sum()))
        rows = {target: self.request.vocabularies[target].encode(labels) for target, labels in self.labels.items()}
        self.counts.count(rows, batch.size)
        self.request.plan.make_room(max((len(self.request.vocabularies[target]) for target in rows), default=0))
        self.groups = groups
        self.views = self._replicates.of(
            {**{target: (values, None) for target, values in rows.items()}, **targets}, groups
        )

    def settle(self, shared: bool) -> dict[str, Tensor]:
        """Sort the rows of all processes' classes; return where those of this process have moved to."""
        return settle(self.vocabularies, self.vocabularies, shared)

    def merge(self, rows: Mapping[str, Tensor], device: torch.device, shared: bool) -> None:
        """Move the counts of every class to its row, and take in those of the other processes."""
        self.counts.move(rows)
        self.counts = merge_across_processes(self.counts, SampleCounts, device, shared)

    def state(self) -> State:
        """Return what was counted so far."""
        return {
            "counts": state_of(self.counts),
            "replicates": self._replicates.state(),
            "vocabularies": {target: vocabulary.state() for target, vocabulary in self.vocabularies.items()},
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        restore(self.counts, state["counts"])
        self._replicates.restore(state["replicates"])
        for target, classes in state["vocabularies"].items():
            self.vocabularies[target].restore(classes)
