"""The classes of a target: declared ones, or the ids that occur, and the row that each has in the statistics."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from layerwise.errors import NotRepeatable
from layerwise.runtime.distributed import all_gather
from layerwise.statistics import State

__all__ = ["MOST_HELD", "Vocabulary", "expected_classes", "settle", "vocabularies_of"]

#: If more classes are declared, such as the words of a language model, only those that occur take memory.
MOST_HELD = 1000


class Vocabulary:
    """Ids of the classes of one target, in the order of their rows.

    Declared classes are the ids ``0 .. count - 1``, and each is its own row, up to `MOST_HELD` of them. Otherwise every
    id that occurs has a row: it takes the next one when it is first met, and `settle` sorts what a split has added.
    Memory grows with the number of classes that occur, not with the largest id.

    Parameters
    ----------
    declared : int, optional
        Number of declared classes.
    every : bool
        Whether each of them has a row, even if there are more than `MOST_HELD`.

    Attributes
    ----------
    ids : Tensor of int
        The id of every row, shape ``(C,)``.
    settled : int
        The number of rows that stay where they are.
    """

    def __init__(self, declared: int | None = None, *, every: bool = False) -> None:
        self.declared = declared is not None and (every or declared <= MOST_HELD)
        self.ids = torch.arange((declared or 0) if self.declared else 0)
        self.settled = len(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def encode(self, labels: Tensor) -> Tensor:
        """Return the rows of ids, shape ``(n,)``; an id that is met for the first time takes the next row."""
        if self.declared or not len(labels):
            return labels
        present = labels.unique().to(self.ids.device)
        fresh = present[~torch.isin(present, self.ids)]
        self.ids = torch.cat([self.ids, fresh])
        return self._rows(labels)[0]

    def rows(self, labels: Tensor) -> Tensor:
        """Return the rows of ids that were met before, shape ``(n,)``.

        Raises
        ------
        NotRepeatable
            If an id was not met before.
        """
        if self.declared or not len(labels):
            return labels
        rows, known = self._rows(labels)
        if not bool(known.all()):
            raise NotRepeatable(
                f"the label {int(labels[~known][0])} is in the second run of the data and was not in the first; "
                "give a loader that repeats itself"
            )
        return rows

    def settle(self, shared: bool) -> Tensor:
        """Sort the ids that were added since the last time, those of all processes together.

        Returns
        -------
        Tensor
            Where each of this process's rows has moved to, shape ``(rows before,)``.
        """
        if self.declared:
            return torch.arange(len(self.ids))
        before, added = self.ids[: self.settled], self.ids[self.settled :]
        every = torch.cat(all_gather(added, shared)).unique()
        moved = torch.cat([torch.arange(self.settled), self.settled + torch.searchsorted(every, added)])
        self.ids = torch.cat([before, every])
        self.settled = len(self.ids)
        return moved

    def state(self) -> State:
        """Return the classes so far."""
        return {"ids": self.ids, "settled": self.settled}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.ids, self.settled = state["ids"], state["settled"]

    def _rows(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Rows, and which of the labels have one; both of shape ``(n,)``."""
        ordered, places = self.ids.to(labels.device).sort()
        at = torch.searchsorted(ordered, labels.contiguous()).clamp_max(len(ordered) - 1)
        return places[at], ordered[at] == labels


def vocabularies_of(
    targets: Collection[str], regression: Collection[str], classes: Mapping[str, int], *, every: bool = False
) -> dict[str, Vocabulary]:
    """Return a vocabulary for every target with classes."""
    return {target: Vocabulary(classes.get(target), every=every) for target in targets if target not in regression}


def settle(vocabularies: Mapping[str, Vocabulary], targets: Collection[str], shared: bool) -> dict[str, Tensor]:
    """Sort the rows of all processes; return where those of this process have moved to, by target with classes."""
    return {target: vocabularies[target].settle(shared) for target in targets if target in vocabularies}


def expected_classes(labels: Tensor) -> int:
    """Estimate the number of classes from the labels of a first batch: those in it, and those that it missed.

    Chao's estimate from the classes that occur once and twice; the size of the ids plays no part.

    References
    ----------
    Chao (1984), Nonparametric estimation of the number of classes in a population.

    Examples
    --------
    >>> expected_classes(torch.tensor([10115, 20095, 10115, 20095, 930331]))
    3
    """
    _, counts = labels.flatten().unique(return_counts=True)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return max(len(counts) + once * (once - 1) // (2 * (twice + 1)), 1)
