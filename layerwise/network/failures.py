"""Name the place where a run failed in the caller's network or data: split, batch, pass and layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from torch import nn

from layerwise.errors import LayerwiseError, RunFailed, cause_text
from layerwise.runtime.module_paths import clean_name

__all__ = ["in_batch", "in_reading", "read_batches", "where_it_failed"]


def read_batches(batches: Iterable[Any], split: str, step: str) -> Iterator[Any]:
    """Yield the batches of a split; an error in reading one names its number.

    Raises
    ------
    RunFailed
        From an error of the loader, its dataset, or the split into inputs and labels.
    """
    number = 0
    with in_reading(split, step, number):
        iterator = iter(batches)
    while True:
        with in_reading(split, step, number):
            try:
                batch = next(iterator)
            except StopIteration:
                return
        yield batch
        number += 1


@contextmanager
def in_reading(split: str, step: str, number: int) -> Iterator[None]:
    """Wrap the reading of one batch."""
    with _placed(split, number, step, "reading the data failed"):
        yield


@contextmanager
def in_batch(model: nn.Module, split: str, step: str, number: int) -> Iterator[None]:
    """Wrap the work on one batch: an error names split, step, batch and layer.

    Raises
    ------
    RunFailed
        From an error of the network, or of the receiver of its features.
    """
    with _placed(split, number, step, "the network failed", model):
        yield


def where_it_failed(model: nn.Module, error: BaseException) -> str:
    """Describe the module of a network in whose forward an error was raised; empty where it was in none."""
    paths = {id(module): path for path, module in model.named_modules()}
    inner: nn.Module | None = None
    for frame in _frames(error.__traceback__):
        owner = frame.get("self")
        if isinstance(owner, nn.Module) and id(owner) in paths:
            inner = owner
    if inner is None:
        return ""
    name = clean_name(paths[id(inner)])
    kind = type(inner).__name__
    return f"in layer {name!r} ({kind})" if name else f"in the forward of {kind} itself"


@contextmanager
def _placed(split: str, number: int, step: str, what: str, model: nn.Module | None = None) -> Iterator[None]:
    """Raise an error of the caller's code again, with its place in front."""
    try:
        yield
    except LayerwiseError:
        raise
    except Exception as error:
        layer = "" if model is None else where_it_failed(model, error)
        place = f"split {split!r}, batch {number}, {step}"
        raise RunFailed(f"{place}: {f'{what} {layer}'.strip()}: {cause_text(error)}") from error


def _frames(trace: TracebackType | None) -> Iterator[dict[str, Any]]:
    """Yield the local names of every frame of a traceback, the outermost first."""
    while trace is not None:
        yield trace.tb_frame.f_locals
        trace = trace.tb_next
