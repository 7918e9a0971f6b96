"""Several processes that share the data: which samples each has, and values collected from all of them.

Under `torchrun` every process profiles its share. A loader is shared if a `DistributedSampler` deals out its samples;
with any other loader every process measures all samples.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch.utils.data import DistributedSampler

from layerwise.errors import InvalidData

__all__ = [
    "all_gather",
    "broadcast",
    "dealt_indices",
    "is_secondary_process",
    "is_shared",
    "needs_sample_numbers",
    "of_lower_ranks",
    "process_group",
    "processes_on_this_machine",
    "rank_and_world_size",
    "samples_of_this_process",
    "union",
    "why_unknown",
]

T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """Return the number of this process, and how many processes there are: (0, 1) alone."""
    group = torch.distributed
    if group.is_available() and group.is_initialized():
        return group.get_rank(), group.get_world_size()
    return 0, 1


def is_secondary_process() -> bool:
    """Whether this process is one of several, and not the first."""
    return rank_and_world_size()[0] > 0


def processes_on_this_machine() -> int:
    """Return how many processes share the memory of this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if rank_and_world_size()[1] > 1 else 1


def is_shared(loader: Any) -> bool:
    """Whether each of several processes has a part of the loader's samples.

    Raises
    ------
    InvalidData
        If accelerate prepared the loader: it repeats samples to make the parts equal, and does not mark them.
    """
    if getattr(loader, "_is_accelerate_prepared", False) and rank_and_world_size()[1] > 1:
        raise InvalidData(
            "a loader that accelerate prepared leaves this process a part of the samples, some of them twice; "
            "give the loader as it was before, with a DistributedSampler if its samples are to be shared"
        )
    return isinstance(getattr(loader, "sampler", None), DistributedSampler)


def samples_of_this_process(loader: Any) -> int | None:
    """Return how many samples of a shared loader count in this process; None if all do.

    A `DistributedSampler` deals equally many samples to every process, so the last samples of some are repetitions.
    """
    if not is_shared(loader):
        return None
    sampler: Any = loader.sampler
    whole = sampler.total_size if sampler.drop_last else len(sampler.dataset)
    return len(range(sampler.rank, whole, sampler.num_replicas))


def dealt_indices(loader: Any) -> list[int] | None:
    """Return the positions of this process's samples in the data set, in order; None if the loader is not shared."""
    count = samples_of_this_process(loader)
    return None if count is None else list(loader.sampler)[:count]


def needs_sample_numbers(loader: Any) -> bool:
    """Whether this process's samples differ from those of the whole data set in their order."""
    if rank_and_world_size()[1] > 1:
        return is_shared(loader)
    indices = dealt_indices(loader)
    return indices is not None and indices != list(range(len(indices)))


def why_unknown(loader: Any, indices: Sequence[int], samples: int) -> str:
    """Return why the samples of a shared loader have no known position in the data set; empty if they have one.

    Parameters
    ----------
    loader : DataLoader
    indices : sequence of int
        The positions that the sampler named.
    samples : int
        Number of samples that the loader returned.
    """
    if list(indices) != dealt_indices(loader):
        return "the sampler deals them out anew in every run"
    whole = len(loader) * (loader.batch_size or 1) if loader.drop_last else len(indices)
    if samples != min(whole, len(indices)):
        return f"the sampler names {len(indices)} samples, the loader gives {samples}"
    return ""


def broadcast(value: T, shared: bool = True) -> T:
    """Return the value of the first process; every process must call this."""
    return all_gather(value, shared)[0]


def union(items: Iterable[T], shared: bool = True) -> list[T]:
    """Return the items of all processes, each once; every process must call this."""
    return list(dict.fromkeys(item for part in all_gather(list(items), shared) for item in part))


def all_gather(value: T, shared: bool) -> list[T]:
    """Return the values of all processes, by rank; every process must call this. Without sharing, return one value."""
    count = rank_and_world_size()[1]
    if not shared or count == 1:
        return [value]
    values: list[Any] = [None] * count
    torch.distributed.all_gather_object(values, value)
    return values


def of_lower_ranks(values: list[T]) -> list[T]:
    """Return the values of `all_gather` from processes of lower rank than this one; none without sharing."""
    return values[: rank_and_world_size()[0]] if len(values) > 1 else []


@contextmanager
def process_group() -> Iterator[str | None]:
    """Join the processes that `torchrun` started, if any; yield the device of this one, or None for any device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or rank_and_world_size()[1] > 1:
        yield None
        return
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    if device != "cpu":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("gloo" if device == "cpu" else "nccl")
    try:
        yield device
    finally:
        torch.distributed.destroy_process_group()
