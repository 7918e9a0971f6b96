"""Small networks and data that the tests profile."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Columns", "Convolutional", "Perceptron", "blobs", "loader"]


class Perceptron(nn.Module):
    """Two hidden layers and a classifier."""

    def __init__(self, features: int = 8, classes: int = 3, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(features, width), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.second(self.first(inputs)))


class Convolutional(nn.Module):
    """A stem and two residual blocks with activations in place."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(_Residual(8), _Residual(8))
        self.classifier = nn.Linear(8, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.blocks(self.stem(inputs)).mean((2, 3)))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.activation(inputs + self.convolution(inputs))


class Columns(nn.Module):
    """As many layers as the input has blocks of columns, each of which it hands on: a simulation in one profile."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.width = width
        self.blocks = nn.ModuleList(nn.Identity() for _ in range(count))

    def forward(self, inputs: Tensor) -> Tensor:
        parts = inputs.split(self.width, dim=1)
        return torch.stack([block(part) for block, part in zip(self.blocks, parts, strict=True)]).sum(0)


def blobs(samples: int = 60, features: int = 8, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian clusters, labels in turn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % classes
    means = 2 * torch.randn(classes, features, generator=torch.Generator().manual_seed(99))
    return means[labels] + torch.randn(samples, features, generator=generator), labels


def loader(inputs: Tensor, labels: Tensor, size: int = 16) -> list[tuple[Tensor, Tensor]]:
    """Batches that can be run any number of times."""
    return list(zip(inputs.split(size), labels.split(size), strict=True))
