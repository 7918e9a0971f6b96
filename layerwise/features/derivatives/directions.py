"""Directions in the space of the inputs, along which layers are differentiated: random signs, or every axis in turn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from layerwise.errors import InvalidData

__all__ = ["TOGETHER", "Axes", "Directions", "Signs", "check_directions", "directions_of"]

#: Directions that share a forward; sharing it among more saves little.
TOGETHER = 8


class Directions(Protocol):
    """Directions for samples of a given width, and an estimate from the squared derivatives along them."""

    def blocks(self, samples: int, width: int, device: torch.device) -> Iterator[Tensor]:
        """Yield directions for the next samples, a few at a time, shape ``(k, n, width)``."""

    def estimate(self, total: Tensor, squared: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``||J||_F^2`` and its squared standard error, from sums of ``||J v||^2`` and of its square."""

    def state(self) -> list[Any]:
        """Return where the directions of the next samples begin."""

    def restore(self, state: list[Any]) -> None:
        """Continue from such a state."""


class Signs:
    """Independent random signs (Hutchinson 1989): ``E v v^T = I``, so that ``E ||J v||^2 = ||J||_F^2``.

    Signs have the least variance among all independent entries. Every direction has a generator of its own, which draws
    sample by sample, so that the signs of a sample depend neither on the size of batches nor on the device.

    Parameters
    ----------
    count : int
        Directions for every sample.
    seed : sequence of int
        Different sequences make independent signs.

    References
    ----------
    Hutchinson 1989, doi:10.1080/03610918908812806.

    Examples
    --------
    >>> signs = Signs(3, (0,))
    >>> [block.shape for block in signs.blocks(5, 100, torch.device("cpu"))]
    [torch.Size([3, 5, 100])]
    """

    def __init__(self, count: int, seed: tuple[int, ...]) -> None:
        self.count = count
        seeds = np.random.SeedSequence(seed).generate_state(count, np.uint32)
        self._generators = [torch.Generator().manual_seed(int(number)) for number in seeds]

    def blocks(self, samples: int, width: int, device: torch.device) -> Iterator[Tensor]:
        """As `Directions.blocks`."""
        shape = (samples, math.ceil(width / 32))
        for start in range(0, self.count, TOGETHER):
            drawn = [
                torch.randint(-(2**31), 2**31, shape, generator=generator, dtype=torch.int32)
                for generator in self._generators[start : start + TOGETHER]
            ]
            # One bit is one sign: few numbers to draw, and little to bring to the device.
            octets = torch.stack(drawn).to(device).view(torch.uint8)
            bits = octets[..., None] >> torch.arange(8, dtype=torch.uint8, device=device) & 1
            yield 2 * bits.flatten(2)[..., :width].to(torch.int8) - 1

    def estimate(self, total: Tensor, squared: Tensor) -> tuple[Tensor, Tensor]:
        """As `Directions.estimate`; one direction has no standard error."""
        mean = total / self.count
        if self.count == 1:
            return mean, torch.full_like(mean, torch.nan)
        variance = (squared - self.count * mean**2).clamp_min(0) / (self.count - 1)
        return mean, variance / self.count

    def state(self) -> list[Any]:
        """As `Directions.state`."""
        return [generator.get_state() for generator in self._generators]

    def restore(self, state: list[Any]) -> None:
        """As `Directions.restore`."""
        for generator, saved in zip(self._generators, state, strict=True):
            generator.set_state(saved)


class Axes:
    """Every axis of the space in turn: ``sum_k ||J e_k||^2 = ||J||_F^2``, exactly."""

    def blocks(self, samples: int, width: int, device: torch.device) -> Iterator[Tensor]:
        """As `Directions.blocks`."""
        for axes in torch.arange(width, device=device).split(TOGETHER):
            block = torch.zeros(len(axes), 1, width, dtype=torch.int8, device=device)
            yield block.scatter_(2, axes[:, None, None], 1).expand(-1, samples, -1)

    def estimate(self, total: Tensor, squared: Tensor) -> tuple[Tensor, Tensor]:
        """As `Directions.estimate`."""
        return total, torch.zeros_like(total)

    def state(self) -> list[Any]:
        """As `Directions.state`."""
        return []

    def restore(self, state: list[Any]) -> None:
        """As `Directions.restore`."""


def check_directions(directions: int | Literal["exact"]) -> None:
    """Refuse a value that is no number of directions.

    Raises
    ------
    InvalidData
        If it is neither ``"exact"`` nor a positive whole number.
    """
    if directions != "exact" and (not isinstance(directions, int) or directions < 1):
        raise InvalidData(f"directions={directions!r} is neither 'exact' nor a number of random directions, such as 8")


def directions_of(directions: int | Literal["exact"], *seed: int) -> Directions:
    """Return that many random directions, or all axes for ``"exact"``."""
    return Axes() if directions == "exact" else Signs(directions, seed)
