"""A training that is profiled epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from layerwise.runtime.distributed import broadcast
from layerwise.studies.training.loop import Loss, train
from layerwise.studies.training.recipe import Recipe
from layerwise.training.tracker import Schedule, Tracker

if TYPE_CHECKING:
    import xarray as xr

    from layerwise.studies.frame.running import Seed

__all__ = ["train_and_track"]


def train_and_track(
    network: nn.Module,
    splits: Mapping[str, tuple[Tensor, Tensor]],
    recipe: Recipe,
    seed: Seed,
    name: str = "network",
    *,
    metrics: str | Sequence[str] | None = None,
    every: Schedule | None = None,
    loss: Loss = nn.functional.cross_entropy,
    **options: Any,
) -> xr.Dataset:
    """Train a network on the split ``train``, and profile it on all splits; go on with what was killed.

    Parameters
    ----------
    network : Module
        Trained in place; made from the seed, so that it is the same when it is made again.
    splits : mapping of str to (inputs, targets)
        What to train on and to measure.
    recipe : Recipe
    seed : Seed
        Where the epochs are kept.
    name : str
        Of this network among those of the seed.
    metrics : str or sequence of str, optional
    every : int, "log" or callable, optional
        Epochs to measure at; by default the last one only.
    loss : callable
    **options
        Fields of `layerwise.Settings`.

    Returns
    -------
    Dataset
        The profile, along ``epoch``.
    """
    probes = {split: list(zip(*(part.split(512) for part in pair), strict=True)) for split, pair in splits.items()}
    schedule = every if every is not None else (lambda epoch: epoch == recipe.epochs)
    tracker = Tracker(
        network,
        probes,
        store=seed.store,
        run=seed.run(name),
        every=schedule,
        resume=True,
        metrics=metrics,
        **options,
    )

    def measure(epoch: int) -> None:
        network.eval()
        tracker.measure(epoch, last=epoch == recipe.epochs)

    train(
        network,
        *splits["train"],
        recipe,
        seed=seed.number,
        loss=loss,
        after_epoch=measure,
        checkpoint=seed.checkpoint(name),
    )
    broadcast(None)
    return seed.store[seed.run(name)].load()
