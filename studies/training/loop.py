"""The training loop, on accelerate: any device, mixed precision, several processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import get_backend, is_initialized

from layerwise.runtime.distributed import is_secondary_process
from layerwise.runtime.extras import from_extra
from layerwise.studies.training.normalisation import share_batch_norm
from layerwise.studies.training.recipe import Recipe

__all__ = ["train"]

Loss = Callable[[Any, Tensor], Tensor]


def train(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    recipe: Recipe,
    *,
    seed: int = 0,
    loss: Loss = nn.functional.cross_entropy,
    after_epoch: Callable[[int], object] = lambda epoch: None,
    checkpoint: Path | None = None,
) -> nn.Module:
    """Train a network on whole tensors.

    The order of the samples is drawn anew for each epoch from `seed` and the epoch alone, so that a training that goes
    on gives the same weights as one that was never stopped. Under ``accelerate launch`` every process takes its share
    of each batch; gradients, and the moments of batch norm, are those of the whole batch. Precision is that of
    accelerate's configuration.

    Parameters
    ----------
    network : Module
    inputs, targets : Tensor
        The training set, ``(n, ...)`` and ``(n,)`` or ``(n, q)``.
    recipe : Recipe
    seed : int
        Of the order of the samples, and of dropout.
    loss : callable
        Of outputs and targets: the mean over the samples.
    after_epoch : callable
        Called with the number of epochs done: 0 before the first.
    checkpoint : Path, optional
        A file that keeps the last finished epoch, to go on from; a finished training does nothing but load it.

    Returns
    -------
    Module
        The same network, trained.
    """
    with from_extra("studies", "a training"):
        from accelerate import Accelerator

    # Of processes without a GPU accelerate knows only if it is told; each would train alone.
    accelerator = Accelerator(cpu=is_initialized() and get_backend() == "gloo")
    network.to(accelerator.device)
    inputs, targets = inputs.to(accelerator.device), targets.to(accelerator.device)
    batches = -(-len(targets) // recipe.batch_size)
    optimiser = recipe.make_optimiser(network)
    schedule = recipe.make_schedule(optimiser, recipe.epochs * batches)
    state = {"network": network, "optimiser": optimiser, "schedule": schedule}
    done = _load(checkpoint, state, accelerator.device)
    if accelerator.num_processes > 1:
        network = share_batch_norm(network, accelerator.device)
    model = accelerator.prepare_model(network) if done < recipe.epochs else network
    if done == 0:
        after_epoch(0)
    for epoch in range(done, recipe.epochs):
        network.train()
        with torch.random.fork_rng([accelerator.device] if accelerator.device.type == "cuda" else []):
            torch.manual_seed(1_000_003 * seed + epoch)
            for rows in torch.randperm(len(targets)).split(recipe.batch_size):
                own = rows[accelerator.process_index :: accelerator.num_processes]
                # A mean of what the processes have, each with the weight of its share.
                weight = len(own) * accelerator.num_processes / len(rows)
                own = own if len(own) else rows[:1]
                optimiser.zero_grad()
                with accelerator.autocast():
                    value = loss(model(inputs[own]), targets[own])
                accelerator.backward(value * weight)
                optimiser.step()
                schedule.step()
        after_epoch(epoch + 1)
        _save(checkpoint, state, epoch + 1)
    return network


def _save(checkpoint: Path | None, state: dict[str, Any], done: int) -> None:
    """Whole or not at all."""
    if checkpoint is None or is_secondary_process():
        return
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    draft = checkpoint.with_suffix(".draft")
    torch.save({"done": done, **{name: item.state_dict() for name, item in state.items()}}, draft)
    os.replace(draft, checkpoint)


def _load(checkpoint: Path | None, state: dict[str, Any], device: torch.device) -> int:
    """Epochs that are done already."""
    if checkpoint is None or not checkpoint.exists():
        return 0
    kept = torch.load(checkpoint, map_location=device, weights_only=True)
    for name, item in state.items():
        item.load_state_dict(kept[name])
    return int(kept["done"])
