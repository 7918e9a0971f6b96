"""Several processes that share the data: whose samples are whose, and what all of them have.

Under `torchrun` every process profiles its share. A loader is shared when a `DistributedSampler` deals out its samples;
of any other loader every process measures all.
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
    """The number of this process, and how many there are: (0, 1) alone."""
    group = torch.distributed
    if group.is_available() and group.is_initialized():
        return group.get_rank(), group.get_world_size()
    return 0, 1


def is_secondary_process() -> bool:
    """Whether this is one of several processes, and not the first."""
    return rank_and_world_size()[0] > 0


def processes_on_this_machine() -> int:
    """How many processes share the memory of this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if rank_and_world_size()[1] > 1 else 1


def is_shared(loader: Any) -> bool:
    """Whether several processes have a part of the loader's samples each.

    Raises
    ------
    InvalidData
        If accelerate cut it into parts, which does not tell samples from those that even the parts out.
    """
    if getattr(loader, "_is_accelerate_prepared", False) and rank_and_world_size()[1] > 1:
        raise InvalidData(
            "a loader that accelerate prepared leaves this process a part of the samples, some of them twice; "
            "give the loader as it was before, with a DistributedSampler if its samples are to be shared"
        )
    return isinstance(getattr(loader, "sampler", None), DistributedSampler)


def samples_of_this_process(loader: Any) -> int | None:
    """How many of the samples that a shared loader gives count here; None where all do.

    A `DistributedSampler` gives every process as many, so the last of some are others' samples a second time.
    """
    if not is_shared(loader):
        return None
    sampler: Any = loader.sampler
    whole = sampler.total_size if sampler.drop_last else len(sampler.dataset)
    return len(range(sampler.rank, whole, sampler.num_replicas))


def dealt_indices(loader: Any) -> list[int] | None:
    """The places in the data set of this process's samples of a shared loader, in order; None for any other loader."""
    own = samples_of_this_process(loader)
    return None if own is None else list(loader.sampler)[:own]


def needs_sample_numbers(loader: Any) -> bool:
    """Whether the samples that a loader gives here are not those of the whole data set in their order."""
    if rank_and_world_size()[1] > 1:
        return is_shared(loader)
    indices = dealt_indices(loader)
    return indices is not None and indices != list(range(len(indices)))


def why_unknown(loader: Any, indices: Sequence[int], samples: int) -> str:
    """Say why the samples that a shared loader gave are not known by their places in the data set; nothing if they are.

    Parameters
    ----------
    loader : DataLoader
    indices : sequence of int
        The places that the sampler named.
    samples : int
        How many samples the loader gave.
    """
    if list(indices) != dealt_indices(loader):
        return "the sampler deals them out anew in every run"
    whole = len(loader) * (loader.batch_size or 1) if loader.drop_last else len(indices)
    if samples != min(whole, len(indices)):
        return f"the sampler names {len(indices)} samples, the loader gives {samples}"
    return ""


def broadcast(own: T, shared: bool = True) -> T:
    """What the first process has; every process must call it."""
    return all_gather(own, shared)[0]


def union(own: Iterable[T], shared: bool = True) -> list[T]:
    """What any of the processes has, each once; every process must call it."""
    return list(dict.fromkeys(item for items in all_gather(list(own), shared) for item in items))


def all_gather(own: T, shared: bool) -> list[T]:
    """What every process has, in the order of their numbers; every process must call it."""
    count = rank_and_world_size()[1]
    if not shared or count == 1:
        return [own]
    found: list[Any] = [None] * count
    torch.distributed.all_gather_object(found, own)
    return found


def of_lower_ranks(parts: list[T]) -> list[T]:
    """Of what `all_gather` gave, that of the processes before this one; none where each has its own."""
    return parts[: rank_and_world_size()[0]] if len(parts) > 1 else []


@contextmanager
def process_group() -> Iterator[str | None]:
    """Join the processes that `torchrun` started, if it did; gives the device of this one, None if any will do."""
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
