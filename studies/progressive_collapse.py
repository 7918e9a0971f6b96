"""Collapse grows with depth: block by block the classes gather, their means spread out and align with the weights.

- Paper: Parker et al. 2023, *Neural collapse in the intermediate hidden layers of classification neural networks*;
  Rangamani et al. 2023, *Feature learning in deep classifiers through intermediate neural collapse*; Tirer et al. 2022.
- Measured: on the training set, in every hidden layer: `nc1_trace`, `max_angle` (the mean deviation of the cosines
  between class means from those of a simplex ETF) and `weight_alignment` (class means and the next linear map).
- Refuted if: `nc1_trace` does not fall at some block; the rank correlation of depth and `max_angle` is above -.95; or
  alignment does not rise with depth, or stays below .95 in the top layer.
- Negative control: the same network before it was trained, where `nc1_trace` must not fall at every block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import spearmanr

from layerwise.studies.data import load_pictures
from layerwise.studies.frame import Claim, Seed, claim, over_seeds
from layerwise.studies.networks import MLP
from layerwise.studies.training import Recipe, train_and_track

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from layerwise.store import Store

__all__ = ["SCALES", "Settings", "claims", "figure", "run"]

_METRICS = ("nc1_trace", "max_angle", "weight_alignment")


@dataclass(frozen=True)
class Settings:
    """A multilayer perceptron with batch norm on pictures."""

    data: str = "digits"
    depth: int = 6
    width: int = 100
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=150, weight_decay=5e-3))
    seeds: int = 5


SCALES = {
    "quick": Settings(data="digits?limit=200", depth=3, width=32, recipe=Recipe(epochs=3), seeds=2),
    "default": Settings(),
    "full": Settings(data="cifar10", width=1024, recipe=Recipe(epochs=350, weight_decay=5e-4, schedule="steps")),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Train, and measure before and after, over seeds."""
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    splits = load_pictures(settings.data)
    inputs, labels = splits["train"]
    torch.manual_seed(seed.number)
    classes = int(labels.max()) + 1
    network = MLP(inputs[0].numel(), classes, width=settings.width, depth=settings.depth, norm="batch")
    ds = train_and_track(
        network,
        {"train": splits["train"]},
        settings.recipe,
        seed,
        metrics=_METRICS,
        every=lambda epoch: epoch in (0, settings.recipe.epochs),
        layers="blocks.*",
    )
    found = ds.isel(target=0).sel(split="train")[[*_METRICS, "network_error"]].reset_coords(drop=True)
    return found.rename(epoch="trained").assign_coords(trained=[False, True], layer=range(1, settings.depth + 1))


def claims(ds: xr.Dataset) -> list[Claim]:
    """What rises and falls with depth, after training and before."""
    trained, untrained = ds.sel(trained=True), ds.sel(trained=False)
    alignment = trained["weight_alignment"]
    return [
        claim("nc1_trace, greatest factor from a block to the next", _steps(trained), "<", 1.0),
        claim("rank correlation of depth and max_angle", _with_depth(trained["max_angle"]), "<=", -0.95),
        claim("rank correlation of depth and weight_alignment", _with_depth(alignment), ">", 0.0),
        claim("weight_alignment in the top layer", alignment.isel(layer=-1), ">", 0.95),
        claim("before training: nc1_trace, greatest factor", _steps(untrained), ">=", 1.0, control=True),
    ]


def figure(ds: xr.Dataset) -> Figure:
    """The three numbers over depth, before training and after."""
    from matplotlib import pyplot as plt

    titles = ("NC1: within over between classes", "NC2: deviation of angles", "NC3: means and next map")
    figure, panels = plt.subplots(1, 3, figsize=(8.4, 2.7), layout="constrained")
    for ax, name, title in zip(panels, _METRICS, titles, strict=True):
        for trained, colour, label in ((False, "C3", "before training (control)"), (True, "C0", "trained")):
            values = ds[name].sel(trained=trained).transpose("layer", "seed")
            ax.plot(ds["layer"], values, color=colour, alpha=0.3, linewidth=0.8)
            ax.plot(ds["layer"], values.mean("seed"), "o-", color=colour, markersize=3, label=label)
        ax.set(xlabel="hidden layer", yscale="linear" if name == "weight_alignment" else "log", xticks=ds["layer"])
        ax.set_title(title, fontsize="medium")
    panels[2].axhline(0.95, color="0.4", linestyle=":", linewidth=1)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _steps(ds: xr.Dataset) -> xr.DataArray:
    """The greatest factor from a layer to the next: below 1 where all fall."""
    values = ds["nc1_trace"].drop_vars("layer")
    return (values.isel(layer=slice(1, None)) / values.isel(layer=slice(None, -1))).max("layer")


def _with_depth(values: xr.DataArray) -> np.ndarray:
    """Spearman's correlation with the layer index."""
    rows = values.transpose("seed", "layer").values
    return np.array([spearmanr(np.arange(len(row)), row).statistic for row in rows])
