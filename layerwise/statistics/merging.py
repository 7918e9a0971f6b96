"""Statistics of several processes merged into one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from layerwise.runtime.distributed import all_gather
from layerwise.statistics.state import Accumulator, merged, state_of

__all__ = ["merge_across_processes"]

A = TypeVar("A", bound=Accumulator)


def merge_across_processes(own: A | None, make: Callable[[], A], device: torch.device, shared: bool = True) -> A:
    """What all processes accumulated as one, the same in each of them; every process must call it.

    Parameters
    ----------
    own : Accumulator or None
        None where this process has no sample.
    make : callable
        Gives an accumulator that has taken nothing in.
    device : device
        Where the result is to be.
    shared : bool
        Whether the processes have different samples: if not, each keeps its own.
    """
    if own is not None and not shared:
        return own
    return merged(all_gather(None if own is None else state_of(own), shared), make, device)
