"""First batches of the caller's loaders, read without a change to later runs, and whether loaders run again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from layerwise.data.texts import NextTokens
from layerwise.data.workers import check_workers, workers_of

__all__ = ["PeekableLoader", "first_batch", "is_repeatable", "peekable", "run_beforehand"]


class PeekableLoader:
    """A loader whose next run begins with the batches that were read ahead, so that no batch is lost."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self._read_ahead: list[Any] = []
        self._open: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        read_ahead, self._read_ahead = self._read_ahead, []
        batches, self._open = self._open, None
        yield from read_ahead
        yield from self.loader if batches is None else batches

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def first(self) -> Any:
        """Return the first batch, with which the next run begins again; None if the loader is empty."""
        return next(iter(self.ahead(1)), None)

    def ahead(self, count: int) -> list[Any]:
        """Return the first `count` batches, or all if there are fewer; the next run begins with them again."""
        if self._open is None:
            self._open = iter(self.loader)
        self._read_ahead += itertools.islice(self._open, max(count - len(self._read_ahead), 0))
        return self._read_ahead[:count]


def peekable(loader: Any, split: str = "") -> Any:
    """Return the loader if it surely runs again, else a `PeekableLoader` of it.

    Raises
    ------
    InvalidData
        If the loader's workers return every sample several times (`layerwise.data.workers`).
    """
    if _surely_repeats(loader):
        return loader
    wrapped = PeekableLoader(loader)
    check_workers(split, workers_of(loader), wrapped.ahead)
    return wrapped


def first_batch(loader: Any) -> Any:
    """Return the first batch of a loader from `peekable`; None if it is empty."""
    return loader.first() if isinstance(loader, PeekableLoader) else next(iter(loader), None)


def is_repeatable(loader: Any) -> bool:
    """Whether a loader may run again; an iterator runs once."""
    return not isinstance(loader.loader if isinstance(loader, PeekableLoader) else loader, Iterator)


@contextmanager
def run_beforehand(loader: Any) -> Iterator[Iterable[Any] | None]:
    """Open a run of a loader that changes no later run, nor the order that torch's samplers draw.

    Yield None for a loader that may not run again, and for one with persistent workers, which have one run at a time.
    """
    source = loader.loader if isinstance(loader, PeekableLoader) else loader
    batches = source.loader if isinstance(source, NextTokens) else source
    if not _surely_repeats(batches) or getattr(batches, "persistent_workers", False):
        yield None
        return
    generators = [getattr(batches, "generator", None), getattr(getattr(batches, "sampler", None), "generator", None)]
    states = [(item, item.get_state()) for item in generators if isinstance(item, torch.Generator)]
    with torch.random.fork_rng(devices=[]):
        try:
            yield source
        finally:
            for generator, state in states:
                generator.set_state(state)


def _surely_repeats(loader: Any) -> bool:
    streams = isinstance(getattr(loader, "dataset", None), IterableDataset)
    return isinstance(loader, list | tuple) or (isinstance(loader, DataLoader) and not streams)
