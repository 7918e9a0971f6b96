"""Samples of four classes, ids far apart for them, and a network in double precision."""

from __future__ import annotations

import torch
from helpers.networks import Perceptron, blobs
from torch import Tensor, nn

IDS = [30_077, 101, 3_007, 2**40]


def network(classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return Perceptron(classes=classes).double()


def samples(count: int = 100, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four classes in random order; two of them are late."""
    inputs, labels = blobs(count, classes=4, seed=seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    order = torch.cat([order[labels[order] < 2], order[labels[order] >= 2]])
    return inputs[order].double(), labels[order]
