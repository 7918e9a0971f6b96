"""Collapse goes on after the training error has reached zero.

- Paper: Papyan, Han & Donoho 2020, *Prevalence of neural collapse during the terminal phase of deep learning training*.
- Measured: on the training set at every epoch, at the last hidden layer: `nc1`, `max_angle` (the mean deviation of the
  cosines between class means from those of a simplex ETF), `self_duality` and `ncc_mismatch`.
- Refuted if: from the first epoch without a training error to the last one, one of the first three does not halve, or
  the network and the nearest class mean disagree at the end.
- Negative control: the same network with its hidden layers fixed as they were made, and only the classifier trained:
  `nc1` must not halve between the same epochs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from layerwise.studies.data import load_pictures
from layerwise.studies.frame import Claim, Seed, claim, over_seeds, side_by_side
from layerwise.studies.frame.ticks import plain_log
from layerwise.studies.networks import MLP
from layerwise.studies.training import Recipe, train_and_track

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from layerwise.store import Store

__all__ = ["SCALES", "Settings", "claims", "figure", "run"]

_METRICS = ("nc1", "max_angle", "self_duality", "ncc_mismatch")


@dataclass(frozen=True)
class Settings:
    """A multilayer perceptron with batch norm, and the paper's step schedule and weight decay."""

    data: str = "digits"
    depth: int = 6
    width: int = 100
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=150, weight_decay=5e-4, schedule="steps"))
    seeds: int = 5


SCALES = {
    "quick": Settings(data="digits?limit=200", depth=2, width=32, recipe=Recipe(epochs=6), seeds=1),
    "default": Settings(),
    "full": Settings(data="cifar10", width=1024, recipe=Recipe(epochs=350, weight_decay=5e-4, schedule="steps")),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Train to the end and measure every epoch, over seeds."""
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    splits = load_pictures(settings.data)
    inputs, labels = splits["train"]
    last = f"blocks.{settings.depth - 1}"
    profiles = {}
    for body in ("trained", "fixed"):
        torch.manual_seed(seed.number)
        classes = int(labels.max()) + 1
        network = MLP(inputs[0].numel(), classes, width=settings.width, depth=settings.depth, norm="batch")
        network.blocks.requires_grad_(body == "trained")
        only = {"train": splits["train"]}
        ds = train_and_track(network, only, settings.recipe, seed, body, metrics=_METRICS, every=1, layers=[last])
        profiles[body] = (
            ds.isel(target=0, layer=0).sel(split="train")[[*_METRICS, "network_error"]].reset_coords(drop=True)
        )
    return side_by_side(profiles, "body")


def claims(ds: xr.Dataset) -> list[Claim]:
    """Each number over its value at the first epoch without an error, halved or not."""
    first = _first_without_error(ds)
    names = {"nc1": "NC1", "max_angle": "deviation of angles from a simplex ETF", "self_duality": "self-duality"}
    ended, began = ds.isel(epoch=-1), ds.sel(epoch=first)
    judged = [
        claim(f"{text} ({name}), last over first epoch without error", _ratio(ended, began, name, "trained"), "<=", 0.5)
        for name, text in names.items()
    ]
    agreed = ended["ncc_mismatch"].sel(body="trained")
    fixed = _ratio(ended, began, "nc1", "fixed")
    return [
        *judged,
        claim("network and nearest class mean disagree at the end (ncc_mismatch)", agreed, "<=", 0.0),
        claim("hidden layers fixed, NC1 (nc1) between the same epochs", fixed, ">", 0.5, control=True),
    ]


def figure(ds: xr.Dataset) -> Figure:
    """The four numbers over epochs, with the first epoch without an error marked."""
    from matplotlib import pyplot as plt

    titles = ("NC1: variability", "NC2: angles", "NC3: self-duality", "NC4: mismatch with NCC")
    figure, panels = plt.subplots(1, 4, figsize=(9.6, 2.5), layout="constrained")
    start = _first_without_error(ds)
    for ax, name, text in zip(panels, _METRICS, titles, strict=True):
        for body, colour, label in (("fixed", "C3", "hidden layers fixed"), ("trained", "C0", "trained")):
            values = ds[name].sel(body=body).isel(epoch=slice(1, None))
            lines = ax.plot(values["epoch"], values.transpose("epoch", "seed"), color=colour, alpha=0.5, linewidth=0.9)
            lines[0].set_label(label)
        ax.axvspan(float(start.mean()), float(ds["epoch"][-1]), color="0.93", zorder=0, label="no training error")
        ax.set(xlabel="epoch", yscale="linear" if name == "ncc_mismatch" else "log", xlim=(1, float(ds["epoch"][-1])))
        ax.set_title(text, fontsize="medium")
    for ax in panels[1:3]:
        plain_log(ax.yaxis)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _first_without_error(ds: xr.Dataset) -> xr.DataArray:
    """The first epoch in which the trained network makes no error, by seed; the last one where there is none."""
    errors = ds["network_error"].sel(body="trained", drop=True)
    none = (errors == 0).transpose("seed", "epoch")
    first = none.argmax("epoch").where(none.any("epoch"), ds.sizes["epoch"] - 1)
    return ds["epoch"][first.astype(int)].reset_coords(drop=True).drop_vars(["epoch", "body"], errors="ignore")


def _ratio(ended: xr.Dataset, began: xr.Dataset, name: str, body: str) -> xr.DataArray:
    return ended[name].sel(body=body) / began[name].sel(body=body)
