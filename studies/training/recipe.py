"""How a network is trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.optim import lr_scheduler

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    epochs : int
    batch_size : int
        Of all processes together.
    learning_rate : float
        The greatest of the schedule.
    weight_decay, momentum : float
    optimiser : {"sgd", "adam", "adamw"}
    schedule : {"one_cycle", "cosine", "steps", "constant"}
        ``steps`` divides the learning rate by ten after a third and after two thirds of the training.
    decay_biases : bool
        Whether weight decay is on biases and norms too; weights of one axis go free if not.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.05
    weight_decay: float = 2e-3
    momentum: float = 0.9
    optimiser: Literal["sgd", "adam", "adamw"] = "sgd"
    schedule: Literal["one_cycle", "cosine", "steps", "constant"] = "one_cycle"
    decay_biases: bool = True

    def make_optimiser(self, network: nn.Module) -> torch.optim.Optimizer:
        """An optimiser of the network's parameters."""
        parameters = [item for item in network.parameters() if item.requires_grad]
        free = [] if self.decay_biases else [item for item in parameters if item.ndim < 2]
        groups = [
            {"params": _without(parameters, free), "weight_decay": self.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if self.optimiser == "sgd":
            return torch.optim.SGD(groups, self.learning_rate, momentum=self.momentum)
        if self.optimiser == "adam":
            return torch.optim.Adam(groups, self.learning_rate)
        return torch.optim.AdamW(groups, self.learning_rate)

    def make_schedule(self, optimiser: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
        """The learning rate over so many steps."""
        if self.schedule == "one_cycle":
            return lr_scheduler.OneCycleLR(optimiser, self.learning_rate, total_steps=steps)
        if self.schedule == "cosine":
            return lr_scheduler.CosineAnnealingLR(optimiser, steps)
        if self.schedule == "steps":
            return lr_scheduler.MultiStepLR(optimiser, [steps // 3, 2 * steps // 3])
        return lr_scheduler.LambdaLR(optimiser, lambda step: 1.0)


def _without(parameters: Iterable[nn.Parameter], others: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    known = {id(item) for item in others}
    return [item for item in parameters if id(item) not in known]
