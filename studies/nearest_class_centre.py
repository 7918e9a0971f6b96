"""Layer by layer, samples come to lie nearest to the centre of the class that the network gives them; SVSL helps.

- Paper: Ben-Shaul & Dekel 2022, *Nearest class-center simplification through intermediate layers*.
- Measured: in vision and in text, `ncc_mismatch`, the share of samples whose nearest class mean is not the network's
  own answer, after every block, on training and test samples: in the first epoch without a training error (the
  interpolation threshold) and at the end of the training; the same with the SVSL term (`layerwise.losses.SVSL`).
- Refuted if: the rank correlation of the mismatch with depth is above -.95 (what counts as a fall with depth in Parker
  2023), or its mean over blocks does not fall from the threshold to the end; if the term does not lower it in the first
  half of the blocks, or costs more than a point of test accuracy.
- Negative control: the term with the labels of each batch in another order, which may not lower the mismatch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import cross_entropy

from layerwise.derive import monotonicity
from layerwise.losses import SVSL
from layerwise.studies.frame import Claim, Seed, claim, over_seeds, side_by_side
from layerwise.studies.frame.ticks import tick_layers
from layerwise.studies.training import Recipe, train_and_track
from layerwise.studies.training.task import TASKS, Task, network_for, on_texts, splits_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from layerwise.store import Store

__all__ = ["SCALES", "Settings", "claims", "figure", "run"]

#: The losses that are compared: cross entropy alone, with the term, and with the term on labels out of order.
ARMS = {"plain": "cross entropy", "svsl": "with SVSL", "permuted": "SVSL, labels permuted (control)"}


@dataclass(frozen=True)
class Settings:
    """A multilayer perceptron with batch norm on pictures, and a transformer on texts.

    Attributes
    ----------
    pictures, texts : Task
    alpha : float
        Weight of the SVSL term.
    every : int
        Epochs from one measurement to the next.
    """

    pictures: Task
    texts: Task
    alpha: float = 0.1
    every: int = 2
    seeds: int = 5


def _on_pictures(epochs: int) -> Recipe:
    return Recipe(epochs=epochs, weight_decay=5e-4, schedule="cosine")


SCALES = {
    "quick": Settings(
        Task("digits?limit=200", 3, 32, _on_pictures(4)),
        Task("movie-reviews?limit=60", 2, 16, on_texts(2)),
        every=4,
        seeds=1,
    ),
    "default": Settings(Task("digits", 8, 64, _on_pictures(40)), Task("movie-reviews?limit=1500", 4, 32, on_texts(24))),
    "full": Settings(
        Task("fashion-mnist", 12, 256, Recipe(epochs=350, weight_decay=5e-4, schedule="steps")),
        Task("movie-reviews", 12, 256, on_texts(30)),
    ),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Train on pictures and on texts with each of the losses, over seeds."""
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    of_tasks = {name: _of_task(name, getattr(settings, name), settings, seed) for name in TASKS}
    return side_by_side(of_tasks, "task")


def _of_task(name: str, task: Task, settings: Settings, seed: Seed) -> xr.Dataset:
    splits = splits_of(name, task)
    profiles = {}
    for arm in ARMS:
        torch.manual_seed(seed.number)
        network = network_for(name, task, splits)
        with SVSL(network, alpha=0.0 if arm == "plain" else settings.alpha, layers="blocks.*") as svsl:

            def loss(scores: Tensor, labels: Tensor, arm: str = arm, svsl: SVSL = svsl) -> Tensor:
                shown = labels[torch.randperm(len(labels))] if arm == "permuted" else labels
                return cross_entropy(scores, labels) + svsl(shown)

            ds = train_and_track(
                network,
                splits,
                task.recipe,
                seed,
                f"{name}-{arm}",
                metrics="ncc_mismatch",
                every=settings.every,
                loss=loss,
                layers="blocks.*",
            )
        profiles[arm] = _moments(ds.isel(target=0, drop=True))
    return side_by_side(profiles, "arm")


def _moments(ds: xr.Dataset) -> xr.Dataset:
    """The profile at the interpolation threshold, where training reached it, and at the end; blocks by number."""
    fitted = ds["network_error"].sel(split="train") == 0
    first = int(fitted.argmax("epoch"))
    threshold, end = ds.isel(epoch=first, drop=True), ds.isel(epoch=-1, drop=True)
    if not bool(fitted.any()):
        threshold = threshold.where(False)
    both = side_by_side({"threshold": threshold, "end": end}, "moment")[["ncc_mismatch", "network_error"]]
    both = both.reset_coords(drop=True).assign_coords(layer=range(1, ds.sizes["layer"] + 1))
    return both.assign(threshold_epoch=ds["epoch"][first].reset_coords(drop=True).where(bool(fitted.any())))


def claims(ds: xr.Dataset) -> list[Claim]:
    """The mismatch falls with depth and time; the term lowers it early, at no cost, with the right labels only."""
    return [item for task in TASKS for item in _claims(task, ds.sel(task=task).dropna("layer", how="all"))]


def _claims(task: str, ds: xr.Dataset) -> list[Claim]:
    mismatch = ds["ncc_mismatch"]
    end = mismatch.sel(moment="end")
    depth = monotonicity(end.sel(arm="plain").to_dataset(), "ncc_mismatch")
    whole = mismatch.sel(arm="plain").mean("layer")
    gained = whole.sel(moment="end") / whole.sel(moment="threshold")
    early = end.isel(layer=slice(ds.sizes["layer"] // 2)).mean("layer")
    against = early / early.sel(arm="plain")
    accuracy = 1 - ds["network_error"].sel(moment="end", split="test")
    cost = accuracy.sel(arm="svsl") - accuracy.sel(arm="plain")
    found = []
    for split in ("train", "test"):
        own, helped, where = depth.sel(split=split), against.sel(split=split), f"{task}, {split}"
        found += [
            claim(f"{where}: rank correlation of the mismatch with depth", own, "<=", -0.95),
            claim(f"{where}: mismatch at the end over that at the threshold", gained.sel(split=split), "<", 1.0),
            claim(f"{where}: mismatch of the first half, with SVSL over without", helped.sel(arm="svsl"), "<", 1.0),
            claim(
                f"{where}: mismatch of the first half, with SVSL on permuted labels over without",
                helped.sel(arm="permuted"),
                ">=",
                1.0,
                control=True,
            ),
        ]
    return [*found, claim(f"{task}: test accuracy with SVSL less that without", cost, ">=", -0.01)]


def figure(ds: xr.Dataset) -> Figure:
    """Mismatch over depth: at the threshold and at the end, and at the end with each of the losses; mean and spread."""
    from matplotlib import pyplot as plt

    figure, rows = plt.subplots(2, 3, figsize=(8.4, 5.0), layout="constrained", sharey="row")
    for panels, task in zip(rows, TASKS, strict=True):
        own = ds.sel(task=task).dropna("layer", how="all")
        mismatch = 100 * own["ncc_mismatch"]
        for split, colour in (("train", "C0"), ("test", "C1")):
            for moment, line, when in (("threshold", "o:", "at the threshold"), ("end", "o-", "at the end")):
                values = mismatch.sel(arm="plain", split=split, moment=moment)
                _draw(panels[0], values, f"{split}, {when}", colour, line)
        panels[0].set_title(f"{task}: cross entropy", fontsize="medium")
        panels[0].set_ylabel("NCC mismatch (%)")
        for ax, split in zip(panels[1:], ("train", "test"), strict=True):
            for (arm, label), colour in zip(ARMS.items(), ("0.25", "C2", "C3"), strict=True):
                _draw(ax, mismatch.sel(arm=arm, split=split, moment="end"), label, colour, "o-")
            ax.set_title(f"{task}: {split}, at the end", fontsize="medium")
        for ax in panels:
            ax.set_ylim(0, None)
            tick_layers(ax, own["layer"].values)
    for ax in rows[-1]:
        ax.set_xlabel("block")
    for ax in rows[0][:2]:
        ax.legend(fontsize="x-small", frameon=False)
    return figure


def _draw(ax: Axes, values: xr.DataArray, label: str, colour: str, line: str) -> None:
    mean, spread = values.mean("seed"), values.std("seed")
    ax.plot(values["layer"], mean, line, color=colour, label=label, markersize=3, linewidth=1.2)
    low, high = (mean - spread).clip(0), mean + spread
    ax.fill_between(values["layer"], low, high, color=colour, alpha=0.15, linewidth=0)
