"""What each measurement of the same samples sees of a batch: all of it, or all but one group of samples."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from layerwise.passes.request import Request
from layerwise.shares import place

__all__ = ["Groups", "Seen", "all_of"]

#: Labels ``(n,)`` or values ``(n, q)`` of a target, and which samples of the batch count, shape ``(n,)``; None for all.
Seen = tuple[Tensor, Tensor | None]


def all_of(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """The samples that count by both; None for all."""
    if first is None or second is None:
        return second if first is None else first
    return first & second.to(first.device)


class Groups:
    """Deals samples out to groups, each of which one measurement leaves out.

    The k-th sample of a class goes to group ``(k + c) mod G``: whatever the batches, a class of two samples and more
    is in two groups at least, and few samples of many classes fill all groups alike. Samples of a regression target are
    of one class. Processes that share the samples begin with a group of their own.

    Parameters
    ----------
    request : Request

    Attributes
    ----------
    dealt : dict of str to Tensor
        Samples of each class so far, by target: where an interrupted run goes on.
    """

    def __init__(self, request: Request) -> None:
        self.count = request.jackknife
        self.regression = request.dimensions
        self.dealt: dict[str, Tensor] = {}

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
        dealt = self.dealt.get(target, labels.new_zeros(0))
        missing = int(labels.max()) + 1 - len(dealt)
        if missing > 0:
            dealt = torch.cat([dealt, dealt.new_zeros(missing)])
        order = labels.argsort(stable=True)
        counts = labels.bincount(minlength=len(dealt))
        place_in_class = torch.empty_like(labels)
        place_in_class[order] = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]
        groups = (dealt[labels] + place_in_class + labels + place()[0]) % self.count
        self.dealt[target] = dealt + counts
        return groups.to(values.device)
