"""Data of three classes and a network to train on them."""

from __future__ import annotations

import torch

from layerwise.studies.networks import MLP


def data() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    return torch.randn(90, 6, generator=draw) + 2 * torch.nn.functional.one_hot(labels, 6), labels


def network() -> MLP:
    torch.manual_seed(1)
    return MLP(6, 3, width=8, depth=2, norm="batch")
