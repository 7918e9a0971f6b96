"""Deeper regularised residual networks and transformers end closer to the closed form of their last layer.

- Paper: Sukenik 2025. With features of length one and a penalty ``l/2 ||W||^2`` the minimum of the cross entropy is a
  simplex ETF with ``||w_k|| = m (K-1)/K``, ``1/(e^m + K - 1) = l m (K-1)/K``; and in residual networks and transformers
  with weight decay on all layers collapse tightens with depth.
- Measured: the norm where Riemannian descent ends, over a grid of penalties; and ``tr S_W / tr S_B`` before the
  classifier of residual networks and of transformers of several depths, trained on the digits with features of length
  one.
- Refuted if: a norm is off the closed form, or the slope of the logarithm over that of the depth is above -0.3.
- Negative control: in the same networks before training depth does not tighten collapse.
- Tried: three seeds of the residual networks all had slopes below -0.3; of five, one has not.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
import xarray as xr
from matplotlib.figure import Figure
from torch import Tensor, nn

from layerwise.profiling import profile
from layerwise.store import Store
from layerwise.studies.data import load_pictures
from layerwise.studies.frame import Claim, Seed, claim, over_seeds, side_by_side
from layerwise.studies.networks import VisionTransformer
from layerwise.studies.training import Recipe, train
from layerwise.theory import residual_minimiser
from layerwise.theory.descent import descend
from layerwise.theory.problems import chain, cross_entropy, labels_of

__all__ = ["GROUP", "SCALES", "Settings", "claims", "figure", "run"]

GROUP = "theory"


@dataclass(frozen=True)
class Sweep:
    """Networks of one kind over their depth.

    Attributes
    ----------
    depths : tuple of int
        Blocks.
    width : int
    recipe : Recipe
    """

    depths: tuple[int, ...]
    width: int
    recipe: Recipe


@dataclass(frozen=True)
class Settings:
    """What is solved and trained.

    Attributes
    ----------
    residual, transformer : Sweep
        Residual networks and transformers.
    penalties : tuple of float
        ``l`` of the closed form.
    data : str
        A name of `layerwise.studies.data.load_pictures`.
    patch : int
        Height and width of what is a token to the transformers.
    seeds : int
    """

    residual: Sweep
    transformer: Sweep
    penalties: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
    data: str = "digits"
    patch: int = 4
    seeds: int = 5


def _recipe(epochs: int) -> Recipe:
    return Recipe(epochs, learning_rate=0.1, weight_decay=2e-3)


SCALES = {
    "quick": Settings(
        Sweep((1, 4), 16, _recipe(3)),
        Sweep((1, 2), 16, _recipe(3)),
        penalties=(1e-2, 0.1),
        data="digits?limit=400",
        seeds=1,
    ),
    "default": Settings(Sweep((1, 2, 4, 8, 16), 48, _recipe(60)), Sweep((1, 2, 4, 8), 32, _recipe(40))),
    "full": Settings(
        Sweep((1, 2, 4, 8, 16, 32), 512, _recipe(200)),
        Sweep((1, 2, 4, 8, 16, 32), 512, _recipe(200)),
        data="cifar10",
    ),
}

#: The kinds of networks, by the settings they have.
KINDS = {"residual": "residual network", "transformer": "transformer"}


class _Residual(nn.Module):
    """Residual blocks without norms, ``h + W_2 relu(W_1 h)``."""

    def __init__(self, features: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(features, width)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))
        self.head: nn.Module = nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.head(self.blocks(self.stem(inputs.flatten(1))))
        return scores


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.perceptron = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, hidden: Tensor) -> Tensor:
        update: Tensor = self.perceptron(hidden)
        return hidden + update


class _UnitLength(nn.Module):
    def forward(self, hidden: Tensor) -> Tensor:
        return nn.functional.normalize(hidden, dim=1)


def _network(kind: str, depth: int, inputs: Tensor, classes: int, settings: Settings) -> nn.Module:
    """A network of one kind, with features of length one before a classifier without bias.

    What residual branches add is at first the less the more of them there are.
    """
    width = getattr(settings, kind).width
    network: _Residual | VisionTransformer
    if kind == "transformer":
        side = math.isqrt(inputs[0].numel())
        shape = (inputs.shape[1], inputs.shape[2], inputs.shape[3]) if inputs.ndim == 4 else (1, side, side)
        network = VisionTransformer(shape, classes, settings.patch, width, depth, heads=1)
        network.norm = nn.Identity()
    else:
        network = _Residual(inputs[0].numel(), width, depth)
    for name, weight in network.blocks.named_parameters():
        if name.endswith(("mixed.weight", "perceptron.2.weight")):
            nn.init.normal_(weight, std=(weight.shape[1] * depth) ** -0.5)
    classifier = nn.Linear(width, classes, bias=False)
    network.head = nn.Sequential(OrderedDict(normalised=_UnitLength(), classifier=classifier))
    return network


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Solve for the last layer, and train the networks.

    Returns
    -------
    Dataset
        ``norm`` and ``predicted`` over ``(seed, penalty)``; ``variability`` and ``untrained`` (``tr S_W / tr S_B``
        before the classifier), ``etf_error`` and ``error`` over ``(seed, network, blocks)``.
    """
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    inputs, labels = load_pictures(settings.data)["train"]
    classes = int(labels.max()) + 1
    solved = [_solved(classes, penalty, seed.number) for penalty in settings.penalties]
    trained = {kind: _trained(kind, inputs, labels, settings, seed) for kind in KINDS}
    last_layer = xr.Dataset(
        {
            "norm": (["penalty", "class"], np.array([norms for norms, _ in solved]), {"long_name": "row norm"}),
            "predicted": ("penalty", np.array([norm for _, norm in solved]), {"long_name": "row norm"}),
        },
        coords={"penalty": list(settings.penalties)},
    )
    return last_layer.merge(side_by_side(trained, "network"))


def _trained(kind: str, inputs: Tensor, labels: Tensor, settings: Settings, seed: Seed) -> xr.Dataset:
    """Networks of one kind over their depth."""
    sweep: Sweep = getattr(settings, kind)
    found, classes = [], int(labels.max()) + 1
    for depth in sweep.depths:
        torch.manual_seed(seed.number)
        network = _network(kind, depth, inputs, classes, settings)
        before = _last_layer(network, inputs, labels)["nc1_trace"]
        checkpoint = seed.checkpoint(f"{kind}{depth}")
        train(network, inputs, labels, sweep.recipe, seed=seed.number, checkpoint=checkpoint)
        after = _last_layer(network, inputs, labels)
        found.append((after["nc1_trace"], before, after["etf_error"], after["network_error"]))
    variability, untrained, etf_error, error = np.array(found).T
    return xr.Dataset(
        {
            "variability": ("blocks", variability, {"long_name": "tr S_W / tr S_B"}),
            "untrained": ("blocks", untrained, {"long_name": "tr S_W / tr S_B before training"}),
            "etf_error": ("blocks", etf_error, {"long_name": "distance from a simplex ETF"}),
            "error": ("blocks", error, {"long_name": "training error"}),
        },
        coords={"blocks": list(sweep.depths)},
    )


def _solved(classes: int, penalty: float, seed: int) -> tuple[np.ndarray, float]:
    """Norms of the classifier's rows where Riemannian descent ends, and the predicted one."""
    counts, dimension = [2] * classes, classes + 1
    shapes = {"features": (2 * classes, dimension), "weight": (classes, dimension)}
    problem = chain(cross_entropy(labels_of(counts)), shapes, {"weight": penalty})
    found = descend(problem, problem.draw(np.random.default_rng(seed)), spheres={"features": 1.0}, tolerance=1e-10)
    return np.linalg.norm(found.point["weight"], axis=1), float(residual_minimiser(classes, penalty).weight_norms[0])


def _last_layer(network: nn.Module, inputs: Tensor, labels: Tensor) -> dict[str, float]:
    network.eval()
    ds = profile(network, [(inputs, labels)], layers=["head.normalised"], metrics=["nc1_trace", "etf_error"])
    return {name: float(ds[name].squeeze()) for name in ("nc1_trace", "etf_error", "network_error")}


def _slope(values: xr.DataArray) -> xr.DataArray:
    """Of the logarithm over that of the depth, where there are networks."""
    logs = xr.apply_ufunc(np.log, values).assign_coords(blocks=np.log(values["blocks"].astype(float)))
    slope: xr.DataArray = logs.polyfit("blocks", 1, skipna=True)["polyfit_coefficients"].sel(degree=1, drop=True)
    return slope


def claims(ds: xr.Dataset) -> list[Claim]:
    """The norm, and the slope of collapse over depth, trained and not."""
    off = abs(ds["norm"] / ds["predicted"] - 1).max(["penalty", "class"])
    found = [claim("greatest relative distance of a row's norm from the closed form", off, "<=", 1e-6)]
    for kind, name in KINDS.items():
        of_kind, text = ds.sel(network=kind), f"{name}: slope of log(tr S_W / tr S_B) over log(depth)"
        found.append(claim(text, _slope(of_kind["variability"]), "<", -0.3))
        found.append(claim(f"{text}, untrained", _slope(of_kind["untrained"]), ">", -0.3, control=True))
    return found


def figure(ds: xr.Dataset) -> Figure:
    """The norm over the penalty, and collapse over depth."""
    drawn, (left, *panels) = plt.subplots(1, 3, figsize=(7.2, 2.6), layout="constrained")
    trained, untrained = sns.color_palette("colorblind", 2)
    fine = np.geomspace(float(ds["penalty"][0]), float(ds["penalty"][-1]), 200)
    norms = [residual_minimiser(ds.sizes["class"], penalty).weight_norms[0] for penalty in fine]
    left.plot(fine, norms, color="0.3", linewidth=0.8, label="closed form")
    left.plot(ds["penalty"], ds["norm"].mean(["seed", "class"]), "o", color=trained, markersize=4, label="descent")
    left.set(xscale="log", xlabel=r"penalty $\lambda$", ylabel=r"norm of a row, $m(K-1)/K$")
    for ax, kind in zip(panels, KINDS, strict=True):
        for name, colour, label in (("variability", trained, "trained"), ("untrained", untrained, "before training")):
            values = ds[name].sel(network=kind).dropna("blocks")
            ax.plot(values["blocks"], values.median("seed"), "-", color=colour, linewidth=1, label=label)
            ax.plot(values["blocks"], values.transpose("blocks", "seed"), "o", color=colour, markersize=3, alpha=0.6)
        ax.set(xscale="log", yscale="log", xlabel="blocks")
        ax.set_xticks(values["blocks"].values, labels=[str(blocks) for blocks in values["blocks"].values])
        ax.minorticks_off()
    panels[0].sharey(panels[1])
    panels[0].set_ylabel(r"tr $S_W$ / tr $S_B$")
    panels[0].legend(fontsize="small", frameon=False)
    left.legend(fontsize="small", frameon=False)
    for ax, title in zip((left, *panels), ("a  last layer", "b  residual networks", "c  transformers"), strict=True):
        ax.set_title(title, loc="left", fontsize="medium")
        ax.tick_params(labelsize="small")
        sns.despine(ax=ax)
    return drawn
