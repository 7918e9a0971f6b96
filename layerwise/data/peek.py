"""Loaders that the caller gives: whether they run again, and a look at the first batch that costs nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from layerwise.data.workers import check_workers, workers_of

__all__ = ["PeekableLoader", "first_batch", "is_repeatable", "peekable"]


class PeekableLoader:
    """A loader whose next run begins with what was seen of it before, so that what runs only once loses nothing."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self._seen: list[Any] = []
        self._open: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        seen, self._seen = self._seen, []
        batches, self._open = self._open, None
        yield from seen
        yield from self.loader if batches is None else batches

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def first(self) -> Any:
        """The first batch, which the next run gives again; None of a loader without one."""
        return next(iter(self.ahead(1)), None)

    def ahead(self, count: int) -> list[Any]:
        """So many of the first batches, which the next run gives again; fewer where there are no more."""
        if self._open is None:
            self._open = iter(self.loader)
        self._seen += itertools.islice(self._open, max(count - len(self._seen), 0))
        return self._seen[:count]


def peekable(loader: Any, split: str = "") -> Any:
    """The loader, if it surely runs as often as it is asked to; else one that can be looked at.

    Raises
    ------
    InvalidData
        If its workers give every sample several times (`layerwise.data.workers`).
    """
    dataset = getattr(loader, "dataset", None)
    sure = isinstance(loader, list | tuple) or (
        isinstance(loader, DataLoader) and not isinstance(dataset, IterableDataset)
    )
    if sure:
        return loader
    found = PeekableLoader(loader)
    check_workers(split, workers_of(loader), found.ahead)
    return found


def first_batch(loader: Any) -> Any:
    """The first batch of a loader that went through `peekable`; None of an empty one."""
    return loader.first() if isinstance(loader, PeekableLoader) else next(iter(loader), None)


def is_repeatable(loader: Any) -> bool:
    """Whether a loader runs again, as far as can be told without running it."""
    return not isinstance(loader.loader if isinstance(loader, PeekableLoader) else loader, Iterator)
