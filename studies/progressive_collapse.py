"""Collapse grows with depth: block by block the classes gather, their means spread out and align with the weights.

- Paper: Parker et al. 2023, *Neural collapse in the intermediate hidden layers of classification neural networks*;
  Rangamani et al. 2023, *Feature learning in deep classifiers through intermediate neural collapse*; Tirer et al. 2022.
- Measured: on the training set, in every hidden layer of a multilayer perceptron on pictures and in every block of a
  transformer on texts: `nc1_trace`, `max_angle` (the mean deviation of the cosines between class means from those of a
  simplex ETF; of two classes it is nothing by definition, and is left out) and `weight_alignment` (class means and the
  next linear map).
- Refuted if: `nc1_trace` does not fall at some block; the rank correlation of depth and `max_angle` is above -.95; or
  alignment does not rise with depth, or stays below .95 in the top layer.
- Negative control: the same network before it was trained, where `nc1_trace` must not fall at every block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import spearmanr

from layerwise.studies.frame import Claim, Seed, claim, over_seeds, side_by_side
from layerwise.studies.frame.ticks import plain_log, tick_layers
from layerwise.studies.training import Recipe, train_and_track
from layerwise.studies.training.task import TASKS, Task, network_for, on_texts, splits_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from layerwise.store import Store

__all__ = ["SCALES", "Settings", "claims", "figure", "run"]

_METRICS = ("nc1_trace", "max_angle", "weight_alignment")


@dataclass(frozen=True)
class Settings:
    """A multilayer perceptron with batch norm on pictures, and a transformer on texts."""

    pictures: Task
    texts: Task
    seeds: int = 5


SCALES = {
    "quick": Settings(
        Task("digits?limit=200", 3, 32, Recipe(3)), Task("movie-reviews?limit=60", 2, 16, on_texts(2)), seeds=2
    ),
    "default": Settings(
        Task("digits", 6, 100, Recipe(150, weight_decay=5e-3)), Task("movie-reviews?limit=1500", 4, 32, on_texts(40))
    ),
    "full": Settings(
        Task("cifar10", 6, 1024, Recipe(350, weight_decay=5e-4, schedule="steps")),
        Task("movie-reviews", 12, 256, on_texts(30)),
    ),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Train, and measure before and after, over seeds."""
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    return side_by_side({name: _of_task(name, getattr(settings, name), seed) for name in TASKS}, "task")


def _of_task(name: str, task: Task, seed: Seed) -> xr.Dataset:
    splits = splits_of(name, task)
    classes = int(splits["train"][1].max()) + 1
    torch.manual_seed(seed.number)
    ds = train_and_track(
        network_for(name, task, splits),
        {"train": splits["train"]},
        task.recipe,
        seed,
        name,
        metrics=_METRICS,
        every=lambda epoch: epoch in (0, task.recipe.epochs),
        layers="blocks.*",
    )
    found = ds.isel(target=0).sel(split="train")[[*_METRICS, "network_error"]].reset_coords(drop=True)
    if classes == 2:
        found["max_angle"] = found["max_angle"].where(False)
    return found.rename(epoch="trained").assign_coords(trained=[False, True], layer=range(1, task.depth + 1))


def claims(ds: xr.Dataset) -> list[Claim]:
    """What rises and falls with depth, after training and before."""
    return [item for task in TASKS for item in _claims(task, _of(ds, task))]


def _of(ds: xr.Dataset, task: str) -> xr.Dataset:
    """One of the networks, and the layers that it has."""
    return ds.sel(task=task).dropna("layer", subset=["nc1_trace"], how="all")


def _claims(task: str, ds: xr.Dataset) -> list[Claim]:
    trained, untrained = ds.sel(trained=True), ds.sel(trained=False)
    angle, alignment = trained["max_angle"], trained["weight_alignment"]
    found = [claim(f"{task}: nc1_trace, greatest factor from a block to the next", _steps(trained), "<", 1.0)]
    if bool(angle.notnull().any()):
        found.append(claim(f"{task}: rank correlation of depth and max_angle", _with_depth(angle), "<=", -0.95))
    return [
        *found,
        claim(f"{task}: rank correlation of depth and weight_alignment", _with_depth(alignment), ">", 0.0),
        claim(f"{task}: weight_alignment in the top layer", alignment.isel(layer=-1), ">", 0.95),
        claim(f"{task}, before training: nc1_trace, greatest factor", _steps(untrained), ">=", 1.0, control=True),
    ]


def figure(ds: xr.Dataset) -> Figure:
    """The three numbers over depth, before training and after; a row a network."""
    from matplotlib import pyplot as plt

    titles = ("NC1: within over between classes", "NC2: deviation of angles", "NC3: means and next map")
    figure, rows = plt.subplots(2, 3, figsize=(8.4, 4.6), layout="constrained")
    for panels, task in zip(rows, TASKS, strict=True):
        own = _of(ds, task)
        for ax, name, title in zip(panels, _METRICS, titles, strict=True):
            if not bool(own[name].notnull().any()):
                ax.set_axis_off()
                ax.text(0.5, 0.5, "two means about their mean\nare always opposite", ha="center", color="0.4")
                continue
            for trained, colour, label in ((False, "C3", "before training (control)"), (True, "C0", "trained")):
                values = own[name].sel(trained=trained).transpose("layer", "seed")
                ax.plot(own["layer"], values, color=colour, alpha=0.3, linewidth=0.8)
                ax.plot(own["layer"], values.mean("seed"), "o-", color=colour, markersize=3, label=label)
            ax.set_yscale("linear" if name == "weight_alignment" else "log")
            tick_layers(ax, own["layer"].values)
            if name == "max_angle":
                plain_log(ax.yaxis)
            ax.set_xlabel("hidden layer" if task == "pictures" else "block")
            ax.set_title(title, fontsize="medium")
        panels[0].set_ylabel(task)
        panels[2].axhline(0.95, color="0.4", linestyle=":", linewidth=1)
    figure.legend(*rows[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _steps(ds: xr.Dataset) -> xr.DataArray:
    """The greatest factor from a layer to the next: below 1 where all fall."""
    values = ds["nc1_trace"].drop_vars("layer")
    return (values.isel(layer=slice(1, None)) / values.isel(layer=slice(None, -1))).max("layer")


def _with_depth(values: xr.DataArray) -> np.ndarray:
    """Spearman's correlation with the layer index."""
    rows = values.transpose("seed", "layer").values
    return np.array([spearmanr(np.arange(len(row)), row).statistic for row in rows])
