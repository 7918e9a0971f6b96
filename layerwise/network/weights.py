"""Weights that are not where or what they seem: offloaded by accelerate, sharded over processes, quantised."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

from layerwise.runtime.module_paths import clean_name
from layerwise.runtime.tensors import bytes_of

__all__ = ["device_of", "materialized", "weight_hash"]


@contextmanager
def materialized(module: nn.Module) -> Iterator[None]:
    """Load the values of a module's own parameters and buffers in this context, if accelerate keeps them elsewhere."""
    hook = getattr(module, "_hf_hook", None)
    values = chain(module.parameters(recurse=False), module.buffers(recurse=False))
    if hook is None or not any(value.is_meta for value in values):
        yield
        return
    hook.pre_forward(module)
    try:
        yield
    finally:
        hook.post_forward(module, None)


def device_of(model: nn.Module) -> torch.device:
    """Return the device that a model takes its inputs on: that of its first parameter when it is used."""
    for module in model.modules():
        hook: Any = getattr(module, "_hf_hook", None)
        for part in getattr(hook, "hooks", (hook,)):
            device: Any = getattr(part, "execution_device", None)
            if device is not None:
                return torch.device(device)
        for parameter in module.parameters(recurse=False):
            return parameter.device
    return torch.device("cpu")


def weight_hash(model: nn.Module, leave_out: Collection[str] = ()) -> str:
    """Hash the names and values of all parameters and buffers; equal weights have equal hashes, on any device.

    Parameters
    ----------
    model : Module
    leave_out : collection of str
        Parts of names whose weights do not count, such as the name of an adapter.
    """
    digest = xxhash.xxh3_128()
    for name, value in model.state_dict().items():
        if not set(leave_out).isdisjoint(name.split(".")):
            continue
        digest.update(clean_name(name).encode())
        if isinstance(value, Tensor):
            digest.update(_offloaded_bytes(model, name) if value.is_meta else bytes_of(value))
    return digest.hexdigest()


def _offloaded_bytes(model: nn.Module, name: str) -> memoryview | bytes:
    path, _, attribute = name.rpartition(".")
    owner = model.get_submodule(path)
    with materialized(owner):
        value = getattr(owner, attribute)
        return b"" if value.is_meta else bytes_of(value)
