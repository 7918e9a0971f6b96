"""Workers of an `IterableDataset` that share nothing out: each gives every sample, so that all count several times."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor
from torch.utils.data import IterableDataset

from layerwise.errors import InvalidData
from layerwise.runtime.distributed import is_secondary_process
from layerwise.runtime.progress import logger

__all__ = ["check_workers", "workers_of"]

# Batches of every worker that are compared at least, and at most.
_LEAST, _MOST = 2, 16
# Samples of a worker that are compared, unless its data ends before.
_SAMPLES = 16


def workers_of(loader: Any) -> int:
    """How many workers a loader has that could all give the same; 0 where the loader itself deals samples out."""
    streams = isinstance(getattr(loader, "dataset", None), IterableDataset)
    # Only batches that come in order tell their workers apart.
    return int(getattr(loader, "num_workers", 0)) if streams and getattr(loader, "in_order", True) else 0


def check_workers(split: str, workers: int, ahead: Callable[[int], list[Any]]) -> None:
    """Refuse workers that give the same batches, in the order in which they give them.

    Workers that deal samples out give different ones. Two of them may still give the same where the data has few
    different samples: then nothing is proven, and a warning is logged.

    Parameters
    ----------
    split : str
    workers : int
    ahead : callable
        Gives so many of the first batches of a run, fewer where there are no more; that run is to begin with them.

    Raises
    ------
    InvalidData
        Naming the ways out.
    """
    if workers < 2:
        return
    same: list[Any] = []
    for rounds in range(_LEAST, _MOST + 1):
        batches = ahead(rounds * workers)
        same = _given_twice(batches, workers)
        if not same:
            return
        samples = sum(map(len, map(_sample_marks, same)))
        if samples >= _SAMPLES or len(batches) < rounds * workers:
            break
    marks = [mark for batch in same for mark in _sample_marks(batch)]
    ways = "use num_workers=0, or deal the samples out in __iter__ by torch.utils.data.get_worker_info()"
    if len(set(marks)) >= max(2, len(marks) / 2):
        raise InvalidData(
            f"the workers of split {split!r} give the same samples: with num_workers={workers} each runs the whole "
            f"IterableDataset, and every sample would count {workers} times; {ways}"
        )
    if not is_secondary_process():
        logger.warning(
            "workers of split %r begin with the same samples, which differ too little to tell whether all count twice; "
            "if they do, %s",
            split,
            ways,
        )


def _given_twice(batches: list[Any], workers: int) -> list[Any]:
    """The batches of a worker that gives the same as another; none if there is no such worker."""
    marks = list(map(_mark, batches))
    # Workers take turns, so that the batches of one lie as far apart as there are workers.
    own = [tuple(marks[number::workers]) for number in range(workers)]
    twins = [number for number in range(workers) if own[number] and own[number] in own[:number]]
    return batches[twins[0] :: workers] if twins else []


def _sample_marks(batch: Any) -> list[int]:
    """A mark for every sample of a batch, for every part of it where samples cannot be told apart."""
    leaves = [leaf for leaf in _leaves(batch) if isinstance(leaf, (Tensor, np.ndarray, list)) and np.ndim(leaf) > 0]
    size = len(leaves[0]) if leaves else 0
    rows = [leaf for leaf in leaves if len(leaf) == size]
    return [_mark([leaf[place] for leaf in rows]) for place in range(size)] or list(map(_mark, _leaves(batch)))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, (tuple, list)) and not _is_column(value):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _is_column(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, (str, bytes, int, float)) for item in value)


def _mark(batch: Any) -> int:
    """A hash of a batch, bit for bit."""
    total = xxhash.xxh3_64()
    for leaf in _leaves(batch):
        if isinstance(leaf, Tensor):
            leaf = leaf.detach().cpu()
            total.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            if leaf.layout == torch.strided:
                flat = leaf.reshape(-1).clone(memory_format=torch.contiguous_format)
                leaf = flat.view(torch.uint8).numpy()
        if isinstance(leaf, np.ndarray) and leaf.dtype != object:
            total.update(f"{leaf.dtype}{leaf.shape}".encode())
            total.update(np.ascontiguousarray(leaf).tobytes())
        else:
            total.update(pickle.dumps(leaf))
    return total.intdigest()
