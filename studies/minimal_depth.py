"""A network separates its classes at the same depth however many layers are added, and later where labels are noise.

- Paper: Galanti, Galanti & Ben-Shaul 2022, *On the implicit bias towards minimal depth of deep neural networks*.
- Measured: the effective depth, the first hidden layer from which on the nearest class mean errs on at most 2% of the
  training set (`ncc_error`), of networks that differ in the number of their layers.
- Refuted if: the effective depth moves by more than one layer from the least deep network to any other.
- Negative control: with 10% of the labels drawn at random, where the effective depth has to be at least 3 layers more,
  in the deepest network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from layerwise.derive import effective_depth
from layerwise.studies.data import load_pictures
from layerwise.studies.frame import Claim, Seed, claim, over_seeds, side_by_side
from layerwise.studies.networks import MLP
from layerwise.studies.training import Recipe, train_and_track

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from layerwise.store import Store

__all__ = ["SCALES", "Settings", "claims", "figure", "run"]


@dataclass(frozen=True)
class Settings:
    """Multilayer perceptrons with batch norm, of several depths."""

    data: str = "digits"
    depths: tuple[int, ...] = (6, 9, 12)
    width: int = 100
    noise: float = 0.1
    eps: float = 0.02
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=80, weight_decay=5e-4))
    seeds: int = 5


SCALES = {
    "quick": Settings(data="digits?limit=200", depths=(2, 3), width=32, recipe=Recipe(epochs=3), seeds=1),
    "default": Settings(),
    "full": Settings(data="cifar10", depths=(8, 12, 16, 20), width=500, recipe=Recipe(epochs=500, schedule="steps")),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Train every depth with true labels, and with some of them drawn at random, over seeds."""
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    inputs, labels = load_pictures(settings.data)["train"]
    return side_by_side(
        {
            share: side_by_side(
                {
                    depth: _train(settings, seed, inputs, _noisy(labels, share, seed.number), depth, share)
                    for depth in settings.depths
                },
                "layers",
            )
            for share in (0.0, settings.noise)
        },
        "noise",
    )


def _train(settings: Settings, seed: Seed, inputs: Tensor, labels: Tensor, depth: int, share: float) -> xr.Dataset:
    torch.manual_seed(seed.number)
    network = MLP(inputs[0].numel(), int(labels.max()) + 1, width=settings.width, depth=depth, norm="batch")
    ds = train_and_track(
        network,
        {"train": (inputs, labels)},
        settings.recipe,
        seed,
        f"{depth}layers-{share:g}",
        metrics="ncc_error",
        layers="blocks.*",
    )
    whole = ds.isel(epoch=-1, target=0).sel(split="train")[["ncc_error", "network_error"]].reset_coords(drop=True)
    # Counted as layers are, from 1; where no layer separates the classes, one more than there are.
    found = (effective_depth(whole, settings.eps) + 1).fillna(depth + 1).reset_coords(drop=True)
    return whole.assign_coords(layer=range(1, depth + 1)).assign(effective_depth=found)


def _noisy(labels: Tensor, share: float, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(labels), generator=draw)[: round(share * len(labels))]
    drawn = torch.randint(int(labels.max()) + 1, (len(chosen),), generator=draw)
    return labels.index_copy(0, chosen, drawn)


def claims(ds: xr.Dataset) -> list[Claim]:
    """Effective depth does not follow the number of layers, but the noise of the labels."""
    true, noisy = (ds["effective_depth"].isel(noise=place) for place in (0, 1))
    moved = abs(true.isel(layers=slice(1, None)) - true.isel(layers=0)).max("layers")
    rise = (noisy - true).isel(layers=-1)
    depths = ds["layers"].values
    return [
        claim(f"effective depth, furthest from that of {depths[0]} layers as layers are added", moved, "<=", 1),
        claim(
            f"10% random labels: effective depth of {depths[-1]} layers rises by (layers)", rise, ">=", 3, control=True
        ),
    ]


def figure(ds: xr.Dataset) -> Figure:
    """The error of the nearest class mean over layers, and the effective depth over the number of layers."""
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(9.6, 2.8), layout="constrained")
    colours = plt.get_cmap("viridis")(torch.linspace(0, 0.85, ds.sizes["layers"]).numpy())
    names = ("true labels", f"{float(ds['noise'][-1]):.0%} random labels (control)")
    for place, (ax, name) in enumerate(zip(panels[:2], names, strict=True)):
        for depth, colour in zip(ds["layers"].values, colours, strict=True):
            errors = ds["ncc_error"].isel(noise=place).sel(layers=depth).dropna("layer", how="all")
            ax.errorbar(
                errors["layer"], errors.mean("seed"), errors.std("seed"), color=colour, label=f"{depth}", linewidth=1
            )
        ax.axhline(ds.attrs.get("eps", 0.02), color="0.5", linestyle=":", linewidth=1)
        ax.set(xlabel="hidden layer", ylim=(-0.01, None))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_title(name, fontsize="medium")
    panels[0].set_ylabel("error of the nearest class mean")
    panels[0].legend(title="layers in all", fontsize="small", frameon=False)
    for place, (colour, name) in enumerate(zip(("C0", "C3"), names, strict=True)):
        found = ds["effective_depth"].isel(noise=place)
        panels[2].errorbar(ds["layers"], found.mean("seed"), found.std("seed"), fmt="o-", color=colour, label=name)
    panels[2].set(xlabel="layers in all", ylabel="effective depth", ylim=(0, None), xticks=ds["layers"].values)
    # Room above the curves.
    panels[2].set_ylim(top=1.35 * panels[2].get_ylim()[1])
    panels[2].legend(fontsize="small", frameon=False, loc="upper left")
    return figure
