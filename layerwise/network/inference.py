"""Run a model without training it: every module runs, and everything is as it was afterwards."""

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
    """Run in evaluation mode, without gradients, and without compiled or fused code; restore all of it afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    fused = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad(), _uncompiled(), warnings.catch_warnings():
        # Reentrant checkpointing warns that no input needs gradients, which is meant here.
        warnings.filterwarnings("ignore", "None of the inputs have requires_grad")
        try:
            # Fused attention skips the hooks of its children, and passes nested tensors from layer to layer.
            torch.backends.mha.set_fastpath_enabled(False)
            for module, _ in modes:
                # A model may have given train() and eval() side effects, such as merging its adapters.
                module.training = False
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
            for module, training in modes:
                module.training = training


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Restore every buffer of a model afterwards, to the bit, also one that was replaced.

    Observers of quantisation and counters write to theirs in evaluation mode, and spectral norm to its vectors whenever
    a weight is read in training mode.
    """
    buffers = [(module, name, buffer) for module in model.modules() for name, buffer in module._buffers.items()]
    copies = {id(buffer): (buffer, buffer.clone()) for buffer in model.buffers() if not buffer.is_meta}
    try:
        yield
    finally:
        for module, name, buffer in buffers:
            module._buffers[name] = buffer
        for buffer, before in copies.values():
            put_back(buffer, before)


def put_back(tensor: Tensor, before: Tensor) -> None:
    """Restore the values, and the shape, that a tensor had before."""
    with torch.no_grad():
        if tensor.shape != before.shape:
            tensor.data = before
        elif not torch.equal(tensor, before):
            tensor.data.copy_(before)


@contextmanager
def fresh_autocast() -> Iterator[None]:
    """Make forwards in this context cast the weights anew under autocast, and leave no casts behind.

    The caller's cached casts may be older than the weights, and those made here have no gradients. Neither training nor
    the measurement may reuse the other's.
    """
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


def _uncompiled() -> AbstractContextManager[Any]:
    """Return a context in which compiled modules run as the originals that they wrap, so that their hooks fire."""
    stance = getattr(torch.compiler, "set_stance", None)
    return nullcontext() if stance is None else stance("force_eager")
