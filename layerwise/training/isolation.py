"""What a measurement restores, so that the training goes on as if it had not happened."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from layerwise.network.inference import fresh_autocast, kept_buffers

__all__ = ["random_generators", "untouched"]


def random_generators(data: Any) -> list[torch.Generator]:
    """Return the generators that loaders draw from besides the global ones; a training loader may share them."""
    loaders = data.values() if isinstance(data, Mapping) else [data]
    owners: list[Any] = []
    for loader in loaders:
        batches = getattr(loader, "batch_sampler", None)
        owners += [loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)]
    generators = (getattr(owner, "generator", None) for owner in owners)
    return list({id(item): item for item in generators if isinstance(item, torch.Generator)}.values())


@contextmanager
def untouched(model: nn.Module, generators: Iterable[torch.Generator]) -> Iterator[None]:
    """Restore, on exit, what loaders and forwards change without gradients: random numbers, buffers, autocast's casts.

    Changes that a loader makes to the model, before or between forwards, are restored too.
    """
    with ExitStack() as stack:
        stack.enter_context(kept_buffers(model))
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        for generator in generators:
            stack.callback(generator.set_state, generator.get_state())
        stack.enter_context(torch.random.fork_rng(_cuda_devices(model)))
        stack.enter_context(fresh_autocast())
        yield


def _cuda_devices(model: nn.Module) -> list[int]:
    """Return the devices that the model or the caller may draw on; asking any other would take memory on it."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return []
    indices = {item.device.index for item in (*model.parameters(), *model.buffers()) if item.is_cuda}
    return sorted({*indices, torch.cuda.current_device()})
