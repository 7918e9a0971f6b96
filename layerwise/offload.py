"""Weights that are not where or what they seem: offloaded by accelerate, sharded over processes, quantised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["device_of", "filled", "plain"]


@contextmanager
def filled(module: nn.Module) -> Iterator[None]:
    """A context in which the module's own parameters hold their values, wherever they wait otherwise."""
    hook = getattr(module, "_hf_hook", None)
    own = chain(module.parameters(recurse=False), module.buffers(recurse=False))
    if hook is None or not any(value.is_meta for value in own):
        yield
        return
    hook.pre_forward(module)
    try:
        yield
    finally:
        hook.post_forward(module, None)


def plain(value: Tensor) -> Tensor:
    """The values of a weight: of one that is sharded all shards, of a quantised one the numbers that it stands for.

    Every process has to ask for a weight that is sharded.
    """
    if type(value) in (Tensor, nn.Parameter, nn.Buffer):
        return value.detach()
    for whole in ("full_tensor", "dequantize"):
        if hasattr(value, whole):
            value = getattr(value.detach(), whole)()
    return value.detach()


def device_of(model: nn.Module) -> torch.device:
    """Where a model takes its inputs: where its first parameter is, or is brought to when it is needed."""
    for module in model.modules():
        hook: Any = getattr(module, "_hf_hook", None)
        for part in getattr(hook, "hooks", (hook,)):
            device: Any = getattr(part, "execution_device", None)
            if device is not None:
                return torch.device(device)
        for parameter in module.parameters(recurse=False):
            return parameter.device
    return torch.device("cpu")
