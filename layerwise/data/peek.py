"""Loaders that the caller gives: whether they run again, and looks at their batches that change no later run."""

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
    if _surely_repeats(loader):
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


@contextmanager
def run_beforehand(loader: Any) -> Iterator[Iterable[Any] | None]:
    """Open a run of a loader's batches that changes nothing of the next one, nor the order that torch's samplers draw.

    None is opened of a loader that may not run again, and of one whose workers stay: they have one run at a time.
    """
    source = loader.loader if isinstance(loader, PeekableLoader) else loader
    batches = source.loader if isinstance(source, NextTokens) else source
    if not _surely_repeats(batches) or getattr(batches, "persistent_workers", False):
        yield None
        return
    held = [getattr(batches, "generator", None), getattr(getattr(batches, "sampler", None), "generator", None)]
    states = [(own, own.get_state()) for own in held if isinstance(own, torch.Generator)]
    with torch.random.fork_rng(devices=[]):
        try:
            yield source
        finally:
            for own, state in states:
                own.set_state(state)


def _surely_repeats(loader: Any) -> bool:
    streams = isinstance(getattr(loader, "dataset", None), IterableDataset)
    return isinstance(loader, list | tuple) or (isinstance(loader, DataLoader) and not streams)
