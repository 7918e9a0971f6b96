"""Batch norm over the whole batch, where several processes have a part of it each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["share_batch_norm"]


def share_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Let every batch norm of a network see the samples of all processes, in place where the network is no norm itself.

    Torch has this for GPUs only.
    """
    if device.type == "cuda":
        shared: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return shared
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _SharedBatchNorm(child))
    return network


class _SharedBatchNorm(nn.Module):
    """A batch norm with the same parameters and buffers as another, and moments of all processes in training."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.eps, self.momentum = norm.eps, norm.momentum
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised over all axes but the second."""
        if not self.training:
            return nn.functional.batch_norm(
                inputs, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        axes = [axis for axis in range(inputs.ndim) if axis != 1]
        count = _total(torch.tensor(float(inputs.numel() // inputs.shape[1])))
        mean = _total(inputs.sum(axes)) / count
        shape = [1, -1, *[1] * (inputs.ndim - 2)]
        centred = inputs - mean.view(shape)
        variance = _total(centred.square().sum(axes)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * count / (count - 1), share)
        scale = (variance + self.eps).rsqrt() * self.weight
        return centred * scale.view(shape) + self.bias.view(shape)


class _Total(torch.autograd.Function):
    """The sum over all processes; each one's gradient is the sum of the gradients of all."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        total = gradients[0].clone()
        torch.distributed.all_reduce(total)
        return total


def _total(values: Tensor) -> Tensor:
    total: Tensor = _Total.apply(values)
    return total
