"""The state of accumulators as plain data, exact to the last bit, for other processes and for files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol, Self, TypeVar

import torch
from torch import Tensor

__all__ = ["Accumulator", "State", "merged", "restore", "state_of"]

#: Tensors on the CPU, numbers and types, by name.
State = dict[str, Any]


class Accumulator(Protocol):
    """A statistic that one or several workers accumulate over samples."""

    #: The attributes that samples change.
    accumulated: ClassVar[tuple[str, ...]]

    def merge(self, other: Self, /) -> None:
        """Add the state of another worker over other samples."""


A = TypeVar("A", bound=Accumulator)


def state_of(accumulator: Accumulator) -> State:
    """Return the state of an accumulator; attributes that are not set yet are left out."""
    values = {name: getattr(accumulator, name) for name in accumulator.accumulated if hasattr(accumulator, name)}
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in values.items()}


def restore(accumulator: A, state: State, device: torch.device | str = "cpu") -> A:
    """Set the state of an accumulator, and return it; it continues exactly from there."""
    for name, value in state.items():
        setattr(accumulator, name, value.to(device, copy=True) if isinstance(value, Tensor) else value)
    return accumulator


def merged(states: Iterable[State | None], make: Callable[[], A], device: torch.device | str = "cpu") -> A:
    """Merge the states of several workers, in their order; None is a worker without samples.

    Parameters
    ----------
    states : iterable of State or None
    make : callable
        Returns an empty accumulator.
    device : device
        Device of the result.
    """
    total = make()
    for state in states:
        if state is not None:
            total.merge(restore(make(), state, device))
    return total
