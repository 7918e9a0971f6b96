"""Pretrained networks separate classes that they were not asked for, and the better the deeper one looks, to a point.

- Paper: no single one; the question is where in a pretrained network a caller's classes come apart. Of a network that
  was trained on these very classes to zero error Parker et al. 2023 say that collapse grows with depth.
- Measured: the test error of a linear readout (`probe_error`) and of the nearest class mean (`ncc_error`) after every
  block, of real networks as they are and with random weights, on draws of pictures and of sentences.
- Refuted if: the readout of no block is better than that of the first, or, in a network that was trained on the classes
  to the end, `nc1_trace` rises at a block, or the rank correlation of `max_angle` with depth is above -.95. What has no
  bound in the literature is told as a measurement.
- Negative control: the same networks with random weights, where what the readout gains from the first block to the best
  has to be less than half as much.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from layerwise.adapters import adapter_for
from layerwise.data import loaders, read, stack_arrays
from layerwise.data.subsets import stratified_order
from layerwise.derive import monotonicity
from layerwise.profiling import profile
from layerwise.studies.data import locate
from layerwise.studies.frame import Claim, Seed, claim, measurement, over_seeds, side_by_side
from layerwise.studies.networks.pretrained import load_pretrained
from layerwise.studies.networks.transformer import VisionTransformer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from layerwise.store import Store

__all__ = ["SCALES", "Settings", "Task", "claims", "figure", "run", "small_transformer"]

_METRICS = ("probe_error", "ncc_error", "nc1_trace", "max_angle")

#: Networks that were trained to the end, on the classes that they are shown here.
TERMINAL = ("resnet56",)


@dataclass(frozen=True)
class Task:
    """Networks, and the classes that they are shown.

    Attributes
    ----------
    networks : tuple of str
        Short names of `layerwise.studies.networks.pretrained`, or any model names (``timm/NAME``, ``hf/NAME``).
    data : str
        A short name of `layerwise.studies.data`, or any data name.
    samples : int
        Of each split; which they are is drawn by the seed.
    """

    networks: tuple[str, ...]
    data: str
    samples: int


@dataclass(frozen=True)
class Settings:
    """Networks for pictures and for texts."""

    pictures: Task
    texts: Task
    seeds: int = 5


SCALES = {
    "quick": Settings(
        Task(("layerwise.studies.pretrained_networks:small_transformer",), "digits", 100),
        Task((), "movie-reviews", 0),
        seeds=1,
    ),
    "default": Settings(
        Task(("resnet56", "efficientnet-lite0"), "cifar10", 200), Task(("minilm", "smollm2"), "movie-reviews", 80)
    ),
    "full": Settings(
        Task(("resnet56", "efficientnet-lite0"), "cifar10", 5000), Task(("minilm", "smollm2"), "movie-reviews", 1700)
    ),
}


def small_transformer() -> nn.Module:
    """A transformer that was never trained, for pictures of 8 by 8."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return VisionTransformer((1, 8, 8), classes=10, patch=4, width=16, depth=2)


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Profile every network on draws of its data.

    Returns
    -------
    Dataset
        The metrics over ``(seed, network, weights, split, layer)``, blocks by number, with their ``depth``.
    """
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    tasks = (settings.pictures, settings.texts)
    found = {name: _profiles(name, task, seed) for task in tasks for name in task.networks}
    return side_by_side(found, "network")


def _profiles(name: str, task: Task, seed: Seed) -> xr.Dataset:
    """A network with its own weights and with random ones."""
    source = read(locate(task.data))
    drawn = {
        split: rows.take(np.sort(stratified_order(rows.labels, seed.number)[: task.samples]))
        for split, rows in source.splits.items()
    }
    network = load_pretrained(name)
    prepare = adapter_for(network).prepare(network) or stack_arrays
    batches = loaders(replace(source, splits=drawn), prepare)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed.number)
        networks = {"pretrained": network, "random": _with_random_weights(network)}
    profiles = {weights: _blocks(profile(own, batches, metrics=_METRICS)) for weights, own in networks.items()}
    return side_by_side(profiles, "weights")


def _blocks(ds: xr.Dataset) -> xr.Dataset:
    """Blocks by number, with their depth."""
    own = ds.isel(epoch=0, target=0, drop=True)
    depth = ("layer", own["depth"].values, {"long_name": "depth"})
    own = own[list(_METRICS)].reset_coords(drop=True)
    return own.assign(depth=depth).assign_coords(layer=range(1, own.sizes["layer"] + 1))


def _with_random_weights(network: nn.Module) -> nn.Module:
    """The same network before any training."""
    if hasattr(network, "config"):
        kind: Any = type(network)
        made: nn.Module = kind(network.config)
        return made.eval()
    fresh = copy.deepcopy(network)
    for module in fresh.modules():
        reset: Any = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return fresh.eval()


def claims(ds: xr.Dataset) -> list[Claim]:
    """What the readout gains with depth, where it is best, and collapse where a network was trained to the end."""
    return [item for name in map(str, ds["network"].values) for item in _claims(name, ds.sel(network=name))]


def _claims(name: str, ds: xr.Dataset) -> list[Claim]:
    errors = ds["probe_error"].sel(split="test").dropna("layer", how="all")
    best = errors.min("layer")
    gain = errors.isel(layer=0) - best
    own, label = errors.sel(weights="pretrained"), name.rpartition(":")[2]
    depth = ds["depth"].sel(weights="pretrained")
    where = depth.where(own <= best.sel(weights="pretrained") + 0.01).min("layer")
    nearest = ds["ncc_error"].sel(split="test", weights="pretrained")
    found = [
        claim(f"{label}: test probe error of the first block less the best", gain.sel(weights="pretrained"), ">", 0.0),
        measurement(f"{label}: least test probe error of a block", best.sel(weights="pretrained")),
        measurement(f"{label}: least depth within a point of it", where),
        measurement(f"{label}: least test error of the nearest class mean", nearest.min("layer")),
        claim(
            f"{label}, random weights: what the probe gains, over that of the pretrained",
            gain.sel(weights="random") / gain.sel(weights="pretrained"),
            "<",
            0.5,
            control=True,
        ),
    ]
    if name in TERMINAL:
        trained = ds.sel(weights="pretrained", split="train", drop=True).dropna("layer", how="all")
        nc1 = trained["nc1_trace"].drop_vars("layer")
        factor = (nc1.isel(layer=slice(1, None)) / nc1.isel(layer=slice(None, -1))).max("layer")
        correlation = monotonicity(trained, "max_angle")
        found += [
            claim(f"{label}: training nc1_trace, greatest factor from a block to the next", factor, "<", 1.0),
            claim(f"{label}: rank correlation of depth and max_angle", correlation, "<=", -0.95),
        ]
    return found


def figure(ds: xr.Dataset) -> Figure:
    """Errors of both readouts over depth, a panel a network; mean and spread over draws."""
    from matplotlib import pyplot as plt

    names = list(map(str, ds["network"].values))
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    size = (3.6 * columns, 0.4 + 2.3 * rows)
    figure, panels = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    arms = {
        ("pretrained", "probe_error"): ("linear readout", "C0", "o-"),
        ("pretrained", "ncc_error"): ("nearest class mean", "C2", "s-"),
        ("random", "probe_error"): ("linear readout, random weights (control)", "C3", "o:"),
    }
    for ax, name in zip(panels.flat, names, strict=False):
        for (weights, metric), (label, colour, line) in arms.items():
            own = ds.sel(network=name, weights=weights).dropna("layer", how="all")
            values, depth = own[metric].sel(split="test"), own["depth"].isel(seed=0)
            mean, spread = values.mean("seed"), values.std("seed")
            ax.plot(depth, mean, line, color=colour, markersize=2.5, linewidth=1, label=label)
            ax.fill_between(depth, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        ax.set(xlabel="depth", ylabel="test error", ylim=(0, None))
        ax.set_title(name.rpartition(":")[2], fontsize="medium", loc="left")
    for ax in panels.flat[len(names) :]:
        ax.set_axis_off()
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure
