"""Shuffles of the labels and regression targets of a split, for what chance alone would give."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from layerwise.errors import NotRepeatable
from layerwise.passes.target_views import TargetViews

__all__ = ["LabelShuffles"]


class LabelShuffles:
    """Labels and regression targets of one split in other orders: each occurs as often, at some other sample.

    One permutation of all samples shuffles every target; samples without a target keep none. The seed and the number of
    the sample determine it: batches do not change it.

    Parameters
    ----------
    labels : mapping of str to Tensor
        The labels of all samples, by target: of shape ``(N,)``, or values of floating type ``(N, q)``. A sample with a
        value that is not finite has no target.
    count : int
        The number of orders.
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
            self.orders.append({target: _among(order, mask)[own].int() for target, mask in present.items()})

    def of(
        self, views: TargetViews, start: int, size: int, rows: Mapping[str, Tensor] | None = None
    ) -> list[TargetViews]:
        """Return the views of the batch from sample `start` on, in each of the orders.

        Parameters
        ----------
        views : dict of str to TargetView
            The views of the batch as it is.
        start, size : int
        rows : mapping of str to Tensor, optional
            What replaces each of the ids of a target; the ids themselves by default.

        Raises
        ------
        NotRepeatable
            If the labels were read of fewer samples.
        """
        if start + size > self.size:
            raise NotRepeatable(
                f"the loader gave {self.size} samples when their labels were read, and more when the network ran; "
                "give a loader that repeats itself"
            )
        known = self.ids if rows is None else rows

        def values(target: str, order: Tensor) -> Tensor:
            labels = self.labels[target][order[start : start + size].long()]
            return known[target][labels.long()] if target in known else labels

        return [
            {target: (values(target, order[target]), views[target][1]) for target in views} for order in self.orders
        ]


def _present(values: Tensor) -> Tensor | None:
    """The samples that have a target, shape ``(N,)``; None where all have."""
    present = torch.isfinite(values).all(1) if values.is_floating_point() else None
    return None if present is None or bool(present.all()) else present


def _among(order: Tensor, present: Tensor | None) -> Tensor:
    """The permutation that leaves samples without a target where they are."""
    if present is None:
        return order
    among = torch.arange(len(order))
    among[present] = order[present[order]]
    return among


def _narrowed(labels: Tensor, ids: Tensor | None) -> Tensor:
    """The place of every label among the ids, in few bytes; values as they are."""
    if ids is None:
        return labels
    return torch.searchsorted(ids, labels).to(torch.int16 if len(ids) < 1 << 15 else torch.int32)
