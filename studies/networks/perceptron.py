"""Small networks that train in seconds on a processor."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["ResidualMLP"]


class ResidualMLP(nn.Module):
    """A multilayer perceptron of residual blocks, as a ResNet has them: batch norm, and a ReLU after the addition.

    Parameters
    ----------
    features : int
        Width of the input; inputs of more axes are flattened.
    classes : int
    width, depth : int
        Width and number of the residual blocks.
    """

    def __init__(self, features: int, classes: int, width: int = 64, depth: int = 8) -> None:
        super().__init__()
        self.stem = nn.Linear(features, width)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))
        self.classifier = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores, shape ``(n, classes)``."""
        scores: Tensor = self.classifier(self.blocks(self.stem(inputs.flatten(1))))
        return scores


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        update: Tensor = self.residual(hidden)
        return (hidden + update).relu()
