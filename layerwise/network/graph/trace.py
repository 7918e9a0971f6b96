"""Trace one forward: every module call and every operation, as plain data.

``trace(model, run) -> Trace`` runs one forward under hooks and a dispatch mode. It keeps nothing of the forward: no
tensor, no hook, no random number, no changed mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from layerwise.network.graph.recorder import Recorder
from layerwise.network.graph.records import Trace
from layerwise.network.inference import evaluating

__all__ = ["Trace", "same_draws", "trace", "trace_with_tensors"]


def trace(model: nn.Module, run: Callable[[], Any]) -> Trace:
    """Record one forward.

    The model runs in evaluation mode (`layerwise.network.inference`), whatever its own mode, and is left as it was.

    Parameters
    ----------
    model : Module
        On any device, ``meta`` too.
    run : callable
        Runs one forward of `model` and returns its output.

    Returns
    -------
    Trace

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> [call.path for call in trace(model, lambda: model(torch.zeros(2, 4))).calls]
    ['', '0', '1']
    """
    return trace_with_tensors(model, run)[0]


def trace_with_tensors(model: nn.Module, run: Callable[[], Any]) -> tuple[Trace, Sequence[Tensor]]:
    """Record one forward as `trace` does, and return the tensor of every value, by its number.

    A tensor that was written to in place holds what was written last.
    """
    recorder = Recorder(model)
    with ExitStack() as stack:
        for context in (evaluating(model), same_draws(model), recorder.hooks(), recorder):
            stack.enter_context(context)
        result = run()
    return recorder.finish(result), recorder.alive


def same_draws(model: nn.Module) -> AbstractContextManager[None]:
    """Restore the random number generators at the end of a context."""
    devices = sorted({item.device.index or 0 for item in model.parameters() if item.is_cuda})
    return torch.random.fork_rng(devices)
