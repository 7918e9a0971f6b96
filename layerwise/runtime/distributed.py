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
    "agreed",
    "dealt_indices",
    "earlier",
    "gathered",
    "is_follower",
    "is_shared",
    "needs_numbers",
    "neighbours",
    "own_samples",
    "place",
    "together",
    "union",
    "why_unknown",
]

T = TypeVar("T")


def place() -> tuple[int, int]:
    """The number of this process, and how many there are: (0, 1) alone."""
    group = torch.distributed
    if group.is_available() and group.is_initialized():
        return group.get_rank(), group.get_world_size()
    return 0, 1


def is_follower() -> bool:
    """Whether this is one of several processes, and not the first."""
    return place()[0] > 0


def neighbours() -> int:
    """How many processes share the memory of this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if place()[1] > 1 else 1


def is_shared(loader: Any) -> bool:
    """Whether several processes have a part of the loader's samples each.

    Raises
    ------
    InvalidData
        If accelerate cut it into parts, which does not tell samples from those that even the parts out.
    """
    if getattr(loader, "_is_accelerate_prepared", False) and place()[1] > 1:
        raise InvalidData(
            "a loader that accelerate prepared leaves this process a part of the samples, some of them twice; "
            "give the loader as it was before, with a DistributedSampler if its samples are to be shared"
        )
    return isinstance(getattr(loader, "sampler", None), DistributedSampler)


def own_samples(loader: Any) -> int | None:
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
    own = own_samples(loader)
    return None if own is None else list(loader.sampler)[:own]


def needs_numbers(loader: Any) -> bool:
    """Whether the samples that a loader gives here are not those of the whole data set in their order."""
    if place()[1] > 1:
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


def agreed(own: T, shared: bool = True) -> T:
    """What the first process has; every process must call it."""
    return gathered(own, shared)[0]


def union(own: Iterable[T], shared: bool = True) -> list[T]:
    """What any of the processes has, each once; every process must call it."""
    return list(dict.fromkeys(item for items in gathered(list(own), shared) for item in items))


def gathered(own: T, shared: bool) -> list[T]:
    """What every process has, in the order of their numbers; every process must call it."""
    count = place()[1]
    if not shared or count == 1:
        return [own]
    found: list[Any] = [None] * count
    torch.distributed.all_gather_object(found, own)
    return found


def earlier(parts: list[T]) -> list[T]:
    """Of what `gathered` gave, that of the processes before this one; none where each has its own."""
    return parts[: place()[0]] if len(parts) > 1 else []


@contextmanager
def together() -> Iterator[str | None]:
    """Join the processes that `torchrun` started, if it did; gives the device of this one, None if any will do."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or place()[1] > 1:
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
