"""What an accumulator holds, as plain data: to be sent to another process, or kept in a file, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol, Self, TypeVar

import torch
from torch import Tensor

__all__ = ["Accumulator", "State", "merged", "restore", "state_of"]

#: Tensors on the CPU, numbers and types, by name.
State = dict[str, Any]


class Accumulator(Protocol):
    """What is accumulated over samples, by several workers perhaps."""

    #: The attributes that samples change.
    accumulated: ClassVar[tuple[str, ...]]

    def merge(self, other: Self, /) -> None:
        """Take in what another worker accumulated over other samples."""


A = TypeVar("A", bound=Accumulator)


def state_of(accumulator: Accumulator) -> State:
    """What was accumulated so far; attributes that are not there yet are left out."""
    held = {name: getattr(accumulator, name) for name in accumulator.accumulated if hasattr(accumulator, name)}
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in held.items()}


def restore(accumulator: A, state: State, device: torch.device | str = "cpu") -> A:
    """Give an accumulator what was accumulated before; it goes on from there, to the last bit."""
    for name, value in state.items():
        setattr(accumulator, name, value.to(device, copy=True) if isinstance(value, Tensor) else value)
    return accumulator


def merged(states: Iterable[State | None], make: Callable[[], A], device: torch.device | str = "cpu") -> A:
    """What several workers accumulated as one, merged in their order; None is a worker without a sample.

    Parameters
    ----------
    states : iterable of State or None
    make : callable
        Gives an accumulator that has taken nothing in.
    device : device
        Where the result is to be.
    """
    whole = make()
    for state in states:
        if state is not None:
            whole.merge(restore(make(), state, device))
    return whole
