"""What one measurement sees of a batch: its labels or values by target, and which of the samples count."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from layerwise.passes.replicates import Replicates

__all__ = ["TargetView", "TargetViews", "count_in_both", "joined", "joined_replicates"]

#: Labels ``(n,)`` or values ``(n, q)`` of a target, and which samples of the batch count, shape ``(n,)``; None for all.
TargetView = tuple[Tensor, Tensor | None]

#: The view of every target.
TargetViews = dict[str, TargetView]


def count_in_both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Return the samples that count in both masks; None for all."""
    if first is None or second is None:
        return second if first is None else first
    return first & second.to(first.device)


def joined(batches: Sequence[TargetViews]) -> TargetViews:
    """Join the views of several batches into those of one."""
    return {target: _concatenated([batch[target] for batch in batches]) for target in (batches[0] if batches else ())}


def joined_replicates(batches: Sequence[Replicates[TargetViews]]) -> Replicates[TargetViews]:
    """Join what every measurement sees of several batches."""
    return Replicates.gather(batches).map(joined)


def _concatenated(views: Sequence[TargetView]) -> TargetView:
    device = views[-1][0].device
    views = [(values.to(device), counts) for values, counts in views]
    joint = torch.cat([values for values, _ in views])
    if all(counts is None for _, counts in views):
        return joint, None
    all_count = [torch.ones(len(values), dtype=torch.bool, device=device) for values, _ in views]
    masks = [
        whole if counts is None else counts.to(device) for whole, (_, counts) in zip(all_count, views, strict=True)
    ]
    return joint, torch.cat(masks)
