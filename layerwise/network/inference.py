"""A model run only to be looked at: every module runs, nothing is trained, and all is as it was afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["evaluating", "fresh_autocast", "kept_buffers", "put_back"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, and no compiled or fused code inside; all as it was again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    fused = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad(), _uncompiled(), warnings.catch_warnings():
        # Reentrant checkpointing asks for gradients, which are not wanted here.
        warnings.filterwarnings("ignore", "None of the inputs have requires_grad")
        try:
            # Fused attention skips its children's hooks, and hands nested tensors from layer to layer.
            torch.backends.mha.set_fastpath_enabled(False)
            for module, _ in modes:
                # Not by train() or eval(), which a model may have given side effects, such as merging its adapters.
                module.training = False
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
            for module, training in modes:
                module.training = training


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Put back every buffer of a model afterwards, to the bit, one that was replaced too.

    Observers of quantisation and counters write to theirs in evaluation mode, and spectral norm to its vectors whenever
    a weight is read in training mode.
    """
    held = [(module, name, buffer) for module in model.modules() for name, buffer in module._buffers.items()]
    copies = {id(buffer): (buffer, buffer.clone()) for buffer in model.buffers() if not buffer.is_meta}
    try:
        yield
    finally:
        for module, name, buffer in held:
            module._buffers[name] = buffer
        for buffer, before in copies.values():
            put_back(buffer, before)


def put_back(tensor: Tensor, before: Tensor) -> None:
    """Give a tensor the values, and the shape, that it had before."""
    with torch.no_grad():
        if tensor.shape != before.shape:
            tensor.data = before
        elif not torch.equal(tensor, before):
            tensor.data.copy_(before)


@contextmanager
def fresh_autocast() -> Iterator[None]:
    """Forwards in here make their own copies of the weights for autocast, and leave none behind.

    Within the caller's autocast its copies may be older than the weights, and those that are made without gradients
    have none: training must not get the ones, nor a measurement the others.
    """
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


def _uncompiled() -> AbstractContextManager[Any]:
    """A context in which compiled modules run as the originals that they wrap, so that their hooks fire."""
    stance = getattr(torch.compiler, "set_stance", None)
    return nullcontext() if stance is None else stance("force_eager")
