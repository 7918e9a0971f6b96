"""Every layer of a trained network with batch norm separates the classes by the same factor.

- Paper: He & Su 2022, *A law of data separation in deep learning*.
- Measured: `separation`, the log10 of the separation fuzziness ``tr(S_W S_B^+)``, of every hidden layer on the training
  set, and R^2 of its least-squares line against the layer index.
- Refuted if: the line does not fit (R^2 at most .95) or does not fall.
- Negative control: the same network without batch norm, where the law has to fail (R^2 below .8).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from layerwise.derive import separation_law
from layerwise.studies.data import load_pictures
from layerwise.studies.frame import Claim, Seed, claim, over_seeds, side_by_side
from layerwise.studies.frame.ticks import tick_layers
from layerwise.studies.networks import MLP
from layerwise.studies.training import Recipe, train_and_track

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from layerwise.store import Store

__all__ = ["SCALES", "Settings", "claims", "figure", "run"]


@dataclass(frozen=True)
class Settings:
    """A multilayer perceptron on pictures."""

    data: str = "digits"
    depth: int = 6
    width: int = 100
    recipe: Recipe = field(
        default_factory=lambda: Recipe(epochs=60, optimiser="adam", learning_rate=1e-3, weight_decay=0.0)
    )
    seeds: int = 5


SCALES = {
    "quick": Settings(data="digits?limit=300", depth=4, width=32, recipe=Recipe(epochs=5), seeds=2),
    "default": Settings(),
    "full": Settings(data="fashion-mnist", depth=20, recipe=Recipe(epochs=600, schedule="steps")),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Train with and without batch norm, over seeds."""
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    train, _ = (splits := load_pictures(settings.data))["train"]
    profiles = {}
    for norm in ("batch", "none"):
        torch.manual_seed(seed.number)
        network = MLP(train[0].numel(), outputs=10, width=settings.width, depth=settings.depth, norm=norm)
        only_train = {"train": splits["train"]}
        ds = train_and_track(network, only_train, settings.recipe, seed, norm, metrics="separation", layers="blocks.*")
        profiles[norm] = ds.isel(epoch=-1, target=0).sel(split="train")[["separation", "network_error"]]
    ds = side_by_side(profiles, "norm")
    return ds.assign(separation_law(ds)[["slope", "intercept", "r_squared"]].data_vars)


def claims(ds: xr.Dataset) -> list[Claim]:
    """The line fits and falls; without batch norm it does not fit."""
    normed, plain = ds.sel(norm="batch"), ds.sel(norm="none")
    return [
        claim("with batch norm, R^2 of the line through separation", normed["r_squared"], ">", 0.95),
        claim("with batch norm, slope of the line (per layer)", normed["slope"], "<", 0.0),
        claim("without batch norm, R^2 of the line", plain["r_squared"], "<", 0.8, control=True),
    ]


def figure(ds: xr.Dataset) -> Figure:
    """Separation fuzziness over depth, every seed a curve, and the mean line."""
    from matplotlib import pyplot as plt

    names = {"batch": "with batch norm", "none": "without (control)"}
    figure, panels = plt.subplots(1, 2, figsize=(6.6, 2.8), layout="constrained", sharey=True)
    steps = range(1, ds.sizes["layer"] + 1)
    for ax, (norm, name), colour in zip(panels, names.items(), ("C0", "C3"), strict=True):
        own = ds.sel(norm=norm)
        ax.plot(steps, 10 ** own["separation"].T, "o-", color=colour, alpha=0.35, markersize=3, linewidth=0.8)
        line = own["intercept"].mean().item() + own["slope"].mean().item() * (ds["layer"].copy(data=steps) - 1)
        ax.plot(steps, 10**line, "--", color="0.2", linewidth=1.2)
        squared = own["r_squared"]
        ax.set(yscale="log", xlabel="hidden layer")
        tick_layers(ax, steps)
        ax.set_title(f"{name}: $R^2$ {squared.min().item():.2f} to {squared.max().item():.2f}", fontsize="medium")
    panels[0].set_ylabel("separation fuzziness")
    return figure
