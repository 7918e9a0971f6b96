"""Mixup: training on mixtures of pairs of samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from layerwise.studies.training.loop import Loss

__all__ = ["Mixup", "mixed"]


class _Mixed(NamedTuple):
    outputs: Any
    share: Tensor
    order: Tensor


class Mixup(nn.Module):
    """A network that takes mixtures ``s x_i + (1-s) x_j`` of its batch in training, and is itself in evaluation.

    ``s`` is drawn for each batch from a Beta distribution. Zhang et al. 2018, *mixup: beyond empirical risk
    minimization*.

    Parameters
    ----------
    network : Module
    alpha : float
        Both parameters of the Beta distribution; 1 draws ``s`` evenly from 0 to 1.
    """

    def __init__(self, network: nn.Module, alpha: float = 1.0) -> None:
        super().__init__()
        self.network, self.alpha = network, alpha

    def forward(self, inputs: Tensor) -> Any:
        """Outputs of the network; in training for the loss that `mixed` makes."""
        if not self.training:
            return self.network(inputs)
        share = torch.distributions.Beta(self.alpha, self.alpha).sample().to(inputs.device)
        order = torch.randperm(len(inputs), device=inputs.device)
        return _Mixed(self.network(share * inputs + (1 - share) * inputs[order]), share, order)


def mixed(loss: Loss) -> Loss:
    """The loss of a `Mixup` network in training: the mixture of the losses on both samples' targets."""

    def of_mixture(made: _Mixed, targets: Tensor) -> Tensor:
        there = loss(made.outputs, targets)
        return made.share * there + (1 - made.share) * loss(made.outputs, targets[made.order])

    return of_mixture
