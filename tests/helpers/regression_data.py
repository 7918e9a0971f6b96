"""Regression targets that a fixed network makes of random inputs, and batches of several targets."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def teacher(samples: int = 60, dimension: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs, and what a fixed network of one hidden layer makes of them, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 8, generator=generator)
    weights = torch.Generator().manual_seed(99)
    hidden = (inputs @ torch.randn(8, 20, generator=weights)).tanh()
    return inputs, (hidden @ torch.randn(20, dimension, generator=weights)).double() / 4


def batches(inputs: Tensor, targets: Mapping[str, Tensor], size: int = 16) -> list[tuple[Tensor, dict[str, Tensor]]]:
    cut = [
        dict(zip(targets, parts, strict=True)) for parts in zip(*(t.split(size) for t in targets.values()), strict=True)
    ]
    return list(zip(inputs.split(size), cut, strict=True))
