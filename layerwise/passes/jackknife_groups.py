"""Jackknife groups: the group of every sample, whatever the batches and the processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from layerwise.errors import NotRepeatable

__all__ = ["JackknifeGroups", "deal", "numbered"]


class JackknifeGroups:
    """Deals samples out to groups, each of which one measurement leaves out.

    The k-th sample of the c-th class that is met goes to group ``(k + c) mod G``. Whatever the batches and the names of
    classes, a class of two or more samples is in two groups at least, and few samples of many classes fill all groups
    evenly. The samples of a regression target count as one class.

    Parameters
    ----------
    count : int
        The number of groups; 0 for none.
    regression : collection of str
        The regression targets.
    known : mapping of str to Tensor, optional
        The group of every sample of this process, by target, unless the samples are those of the whole data set in
        their order (`layerwise.passes.label_replicates`).

    Attributes
    ----------
    dealt : dict of str to Tensor
        Samples of each class so far, by target.
    turns : dict of str to Tensor
        The place of each class in the order in which classes were first met; -1 for those that were not.
    """

    def __init__(self, count: int, regression: Collection[str], known: Mapping[str, Tensor] | None = None) -> None:
        self.count = count
        self.regression = regression
        self.known = known
        self.dealt: dict[str, Tensor] = {}
        self.turns: dict[str, Tensor] = {}

    def of(self, target: str, values: Tensor, start: int) -> Tensor:
        """Return the group of every sample of the batch from sample `start` on, shape ``(n,)``.

        Raises
        ------
        NotRepeatable
            If the labels were read of fewer samples.
        """
        if self.known is not None:
            groups = self.known[target][start : start + len(values)]
            if len(groups) < len(values):
                raise NotRepeatable(
                    f"the loader gave {len(self.known[target])} samples when their labels were read, and more when the "
                    "network ran; give a loader that repeats itself"
                )
            return groups.to(values.device)
        labels = torch.zeros(len(values), dtype=torch.int64) if target in self.regression else values.cpu()
        none = labels.new_zeros(0)
        numbers, self.dealt[target] = numbered(labels, self.dealt.get(target, none))
        turns = self.turns[target] = _turns(labels, self.turns.get(target, none))
        return ((numbers + turns[labels]) % self.count).to(values.device)


def deal(labels: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Deal all samples of a data set out at once; return the group of each, shape ``(N,)``, by target.

    Parameters
    ----------
    labels : mapping of str to Tensor
        Labels ``(N,)`` of every target with classes, values of floating type ``(N, q)`` of the others.
    count : int
        The number of groups.
    """
    regression = {target for target, values in labels.items() if values.is_floating_point()}
    groups = JackknifeGroups(count, regression)
    # Ids may be large; groups count the rows of classes.
    rows = {
        target: values if target in regression else values.unique(return_inverse=True)[1]
        for target, values in labels.items()
    }
    return {target: groups.of(target, values, 0) for target, values in rows.items() if len(values)}


def _turns(labels: Tensor, before: Tensor) -> Tensor:
    """Add the classes of another batch to the order in which classes were first met; -1 for those that were not."""
    missing = int(labels.max()) + 1 - len(before)
    turns = torch.cat([before, before.new_full((missing,), -1)]) if missing > 0 else before.clone()
    fresh = labels[turns[labels] < 0]
    present, classes = fresh.unique(return_inverse=True)
    first = torch.full_like(present, len(fresh)).scatter_reduce_(0, classes, torch.arange(len(fresh)), "amin")
    turns[present[first.argsort()]] = torch.arange(len(present)) + int((turns >= 0).sum())
    return turns


def numbered(labels: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of every sample within its class, shape ``(n,)``, and the samples of each class including them.

    Parameters
    ----------
    labels : Tensor
        Shape ``(n,)``.
    before : Tensor
        Samples of each class before them, for the classes that were met.
    """
    missing = int(labels.max()) + 1 - len(before)
    if missing > 0:
        before = torch.cat([before, before.new_zeros(missing)])
    order = labels.argsort(stable=True)
    counts = labels.bincount(minlength=len(before))
    within = torch.empty_like(labels)
    within[order] = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts)[labels[order]]
    return before[labels] + within, before + counts
