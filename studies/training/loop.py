"""The training loop."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["train"]


def train(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 0.05,
    weight_decay: float = 2e-3,
    seed: int = 0,
    after_epoch: Callable[[int], object] = lambda epoch: None,
) -> nn.Module:
    """Train a classifier with cross entropy, momentum and a one-cycle learning rate.

    Parameters
    ----------
    network : Module
    inputs, labels : Tensor
        The training set, ``(n, ...)`` and ``(n,)``.
    epochs, batch_size, learning_rate, weight_decay
        As their names say; the learning rate is the greatest of the cycle.
    seed : int
        Of the order of the samples.
    after_epoch : callable
        Called with the number of epochs done: 0 before the first.

    Returns
    -------
    Module
        The same network, trained.
    """
    order = torch.Generator().manual_seed(seed)
    steps = -(-len(labels) // batch_size)
    optimiser = torch.optim.SGD(network.parameters(), learning_rate, momentum=0.9, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=epochs * steps)
    network.train()
    after_epoch(0)
    for epoch in range(epochs):
        for rows in torch.randperm(len(labels), generator=order).split(batch_size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs[rows]), labels[rows]).backward()
            optimiser.step()
            schedule.step()
        after_epoch(epoch + 1)
    return network
