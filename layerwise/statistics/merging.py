"""Merging of statistics across processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from layerwise.runtime.distributed import all_gather
from layerwise.statistics.state import Accumulator, merged, state_of

__all__ = ["merge_across_processes"]

A = TypeVar("A", bound=Accumulator)


def merge_across_processes(
    accumulator: A | None, make: Callable[[], A], device: torch.device, shared: bool = True
) -> A:
    """Merge the accumulators of all processes, with the same result in each; every process must call this.

    Parameters
    ----------
    accumulator : Accumulator or None
        None if this process has no sample.
    make : callable
        Returns an empty accumulator.
    device : device
        Device of the result.
    shared : bool
        Whether the processes have different samples; if not, each keeps its own accumulator.
    """
    if accumulator is not None and not shared:
        return accumulator
    return merged(all_gather(None if accumulator is None else state_of(accumulator), shared), make, device)
