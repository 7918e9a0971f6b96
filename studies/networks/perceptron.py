"""Multilayer perceptrons: plain, with batch norm, linear, residual."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

__all__ = ["MLP", "ResidualMLP"]


class MLP(nn.Module):
    """A multilayer perceptron: hidden layers of one width in `blocks`, and a linear head.

    Parameters
    ----------
    features, outputs : int
        Width of the input (inputs of more axes are flattened) and of the output.
    width, depth : int
        Width and number of the hidden layers.
    norm : {"batch", "none"}
        What stands between a linear map and its activation.
    activation : {"relu", "none"}
        With ``none`` the network is deep linear.
    bias : bool
        Whether the linear maps have biases.
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        width: int = 100,
        depth: int = 8,
        *,
        norm: Literal["batch", "none"] = "none",
        activation: Literal["relu", "none"] = "relu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential()
        for wide in [features, *[width] * (depth - 1)]:
            block = nn.Sequential(nn.Linear(wide, width, bias=bias))
            if norm == "batch":
                block.append(nn.BatchNorm1d(width))
            if activation == "relu":
                block.append(nn.ReLU())
            self.blocks.append(block)
        self.head = nn.Linear(width, outputs, bias=bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores or targets, shape ``(n, outputs)``."""
        values: Tensor = self.head(self.blocks(inputs.flatten(1)))
        return values


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
