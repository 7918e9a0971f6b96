"""Detection of `IterableDataset` workers that each return all samples, so that every sample counts several times."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor
from torch.utils.data import IterableDataset

from layerwise.errors import InvalidData
from layerwise.runtime.distributed import is_secondary_process
from layerwise.runtime.progress import logger
from layerwise.runtime.tensors import leaves

__all__ = ["check_workers", "workers_of"]

# The smallest and the largest number of batches of each worker that are compared.
_LEAST, _MOST = 2, 16
# Samples of a worker that are compared, unless its data ends earlier.
_SAMPLES = 16


def workers_of(loader: Any) -> int:
    """Return how many workers of a loader may return the same samples; 0 if the loader itself deals samples out."""
    streams = isinstance(getattr(loader, "dataset", None), IterableDataset)
    # The worker of a batch is known only if batches come in order.
    return int(getattr(loader, "num_workers", 0)) if streams and getattr(loader, "in_order", True) else 0


def check_workers(split: str, workers: int, ahead: Callable[[int], list[Any]]) -> None:
    """Refuse workers that return the same batches in the same order.

    Workers that share the samples return different ones. Two of them may still agree if the data has few different
    samples: then nothing is proven, and a warning is logged.

    Parameters
    ----------
    split : str
    workers : int
    ahead : callable
        Returns the first batches of a run, as many as asked for or fewer if there are no more. That run must begin with
        them again.

    Raises
    ------
    InvalidData
        If workers return the same batches; the message names what the caller can do.
    """
    if workers < 2:
        return
    repeated: list[Any] = []
    for rounds in range(_LEAST, _MOST + 1):
        batches = ahead(rounds * workers)
        repeated = _repeated_batches(batches, workers)
        if not repeated:
            return
        samples = sum(map(len, map(_sample_hashes, repeated)))
        if samples >= _SAMPLES or len(batches) < rounds * workers:
            break
    hashes = [sample for batch in repeated for sample in _sample_hashes(batch)]
    ways = "use num_workers=0, or deal the samples out in __iter__ by torch.utils.data.get_worker_info()"
    if len(set(hashes)) >= max(2, len(hashes) / 2):
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


def _repeated_batches(batches: list[Any], workers: int) -> list[Any]:
    """Return the batches of a worker that returns the same as another; none if there is no such worker."""
    hashes = list(map(_hash, batches))
    # Workers take turns, so that every `workers`-th batch is from the same one.
    by_worker = [tuple(hashes[number::workers]) for number in range(workers)]
    twins = [number for number in range(workers) if by_worker[number] and by_worker[number] in by_worker[:number]]
    return batches[twins[0] :: workers] if twins else []


def _sample_hashes(batch: Any) -> list[int]:
    """Return a hash of every sample of a batch, or of every part of it if it has no rows."""
    columns = [
        leaf for leaf in leaves(batch, _is_column) if isinstance(leaf, (Tensor, np.ndarray, list)) and np.ndim(leaf) > 0
    ]
    size = len(columns[0]) if columns else 0
    columns = [column for column in columns if len(column) == size]
    rows = [[column[place] for column in columns] for place in range(size)]
    return list(map(_hash, rows or leaves(batch, _is_column)))


def _is_column(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, (str, bytes, int, float)) for item in value)


def _hash(batch: Any) -> int:
    """Return a hash of a batch that depends on every bit."""
    total = xxhash.xxh3_64()
    for leaf in leaves(batch, _is_column):
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
