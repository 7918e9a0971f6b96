"""Geometric complexity bounds how far a layer can scatter Gaussian classes, at every layer of any network.

- Paper: Munn 2024. For inputs of Gaussian classes of variance ``s^2``, at every layer ``cdnv_ij <= s^2 (GC_i + GC_j)
  / (2 ||mu_i - mu_j||^2)``, with equality where the layer is a linear map of the input.
- Measured: both sides at all layers of random networks of various depths, widths, activations and scales, on samples
  that have exactly the means and covariances of the classes.
- Refuted if: a layer is beyond the bound by more than the sampling error, four standard errors, or a linear map is
  off equality by more than rounding.
- Negative control: classes of the same total variance that are no isotropic Gaussian, two points each, go beyond the
  bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
import xarray as xr
from matplotlib.figure import Figure
from torch import Tensor, nn

from layerwise.store import Store
from layerwise.studies.data import gaussian_mixture
from layerwise.studies.frame import Claim, Seed, claim, over_seeds

__all__ = ["GROUP", "SCALES", "Settings", "claims", "figure", "run"]

GROUP = "theory"

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "linear": nn.Identity}

#: A linear map and the activation behind it.
Layer = tuple[nn.Linear, nn.Module]


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes
    ----------
    networks : int
        Random networks for each seed.
    depth : int
        Greatest number of layers.
    features, classes, samples : int
        Of the inputs, samples in each class.
    seeds : int
    """

    networks: int = 12
    depth: int = 4
    features: int = 8
    classes: int = 3
    samples: int = 2000
    seeds: int = 5


SCALES = {
    "quick": Settings(networks=4, depth=2, samples=500, seeds=1),
    "default": Settings(),
    "full": Settings(networks=50, depth=8, features=20, classes=6, samples=10_000),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Measure both sides of the bound.

    Returns
    -------
    Dataset
        Over ``(seed, network, layer)``, NaN beyond a network's depth: ``cdnv`` and ``bound`` of the pair of classes
        that comes closest to the bound, ``error``, the standard error of their ratio, and ``two_points``, the
        greatest ratio on inputs of two points a class; ``linear`` over ``(seed, network)``, whether the network is a
        linear map.
    """
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    generator = torch.Generator().manual_seed(seed.number)
    found = np.full((4, settings.networks, settings.depth), np.nan)
    names = list(ACTIVATIONS)
    for place in range(settings.networks):
        activation = names[place % len(names)]
        depth = 1 + int(torch.randint(settings.depth, (), generator=generator))
        layers = _random_layers(settings.features, depth, activation, generator)
        variance = float(torch.empty(()).uniform_(0.1, 2.0, generator=generator))
        shape = settings.classes, settings.samples, settings.features
        inputs = gaussian_mixture(*shape, variance, seed=generator)["train"][0].view(shape)
        points = _two_points(settings, variance, generator)
        for layer, sides in enumerate(_sides(layers, inputs, variance)):
            found[:3, place, layer] = sides
        for layer, (left, right, _) in enumerate(_sides(layers, points, variance)):
            found[3, place, layer] = left / right
    words = (
        "class-distance normalised variance",
        "bound by geometric complexity",
        "standard error of the ratio",
        "ratio of two points a class",
    )
    values = {
        name: (["network", "layer"], array, {"long_name": text})
        for name, array, text in zip(("cdnv", "bound", "error", "two_points"), found, words, strict=True)
    }
    linear = np.array([names[place % len(names)] == "linear" for place in range(settings.networks)], dtype=float)
    return xr.Dataset(values | {"linear": ("network", linear)})


def _random_layers(features: int, depth: int, activation: str, generator: torch.Generator) -> list[Layer]:
    layers: list[Layer] = []
    width = features
    for _ in range(depth):
        wide = int(torch.randint(4, 33, (), generator=generator))
        linear = nn.Linear(width, wide).double()
        scale = float(torch.empty(()).uniform_(0.5, 3.0, generator=generator)) / width**0.5
        for parameter in linear.parameters():
            parameter.data = scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        layers.append((linear, ACTIVATIONS[activation]()))
        width = wide
    return layers


def _two_points(settings: Settings, variance: float, generator: torch.Generator) -> Tensor:
    """Classes of two points in equal parts, with the total variance in their one direction."""
    shape = settings.classes, 1, settings.features
    means = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    ways = torch.nn.functional.normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=-1)
    signs = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    classes: Tensor = means + (settings.features * variance) ** 0.5 * signs * ways
    return classes


def _sides(layers: list[Layer], inputs: Tensor, variance: float) -> list[tuple[float, float, float]]:
    """Both sides of the bound at every layer for the pair of classes that comes closest, and its standard error."""
    classes, samples, features = inputs.shape
    hidden = inputs.reshape(-1, features)
    jacobian = torch.eye(features, dtype=torch.float64).expand(len(hidden), features, features)
    found = []
    for linear, activation in layers:
        before = linear(hidden).detach().requires_grad_()
        hidden = activation(before)
        (slope,) = torch.autograd.grad(hidden.sum(), before)
        jacobian = slope[:, :, None] * (linear.weight.detach() @ jacobian)
        hidden = hidden.detach()
        by_class = hidden.reshape(classes, samples, -1)
        squares = (by_class - by_class.mean(1, keepdim=True)).square().sum(-1)
        complexity = jacobian.square().sum((1, 2)).reshape(classes, samples)
        found.append(_closest(by_class.mean(1), squares, variance * complexity))
    return found


def _closest(means: Tensor, squares: Tensor, bounds: Tensor) -> tuple[float, float, float]:
    """The pair of classes that comes closest to the bound."""
    pairs = []
    for i in range(len(means)):
        for j in range(i):
            twice = 2 * float((means[i] - means[j]).square().sum())
            left, right = (float(side[i].mean() + side[j].mean()) for side in (squares, bounds))
            ratio = left / right
            # The error of a ratio of means, to first order.
            rest = squares - ratio * bounds
            error = float((rest[i].var() + rest[j].var()) ** 0.5) / (squares.shape[1] ** 0.5 * right)
            pairs.append((ratio, left / twice, right / twice, error))
    return max(pairs)[1:]


def claims(ds: xr.Dataset) -> list[Claim]:
    """The bound at all layers, equality for linear maps, and two points beyond it."""
    ratio, linear = ds["cdnv"] / ds["bound"], ds["linear"] == 1
    beyond = (ratio - 1) / ds["error"].clip(min=1e-12)
    others = beyond.where(~linear).max(["network", "layer"])
    equal = abs(ratio - 1).where(linear).max(["network", "layer"])
    slack = ratio.where(~linear).min(["network", "layer"])
    points = ds["two_points"].max(["network", "layer"])
    return [
        claim("standard errors by which the worst layer goes beyond the bound", others, "<=", 4),
        claim("greatest distance of cdnv over bound from one, for linear maps", equal, "<=", 1e-9),
        claim("least cdnv over bound of a network that is none", slack, "<", 0.95),
        claim("greatest cdnv over bound on two points a class", points, ">", 1, control=True),
    ]


def figure(ds: xr.Dataset) -> Figure:
    """One side of the bound against the other, a point a layer."""
    drawn, ax = plt.subplots(figsize=(3.8, 3.4), layout="constrained")
    linear = (ds["linear"] == 1).broadcast_like(ds["cdnv"]).values.astype(bool)
    for chosen, colour, label in zip(
        (~linear, linear), sns.color_palette("colorblind"), ("nonlinear", "linear map"), strict=False
    ):
        x, y = ds["bound"].values[chosen], ds["cdnv"].values[chosen]
        ax.plot(x, y, "o", color=colour, markersize=3, alpha=0.7, label=label)
    ends = np.nanmin(ds["cdnv"].values), np.nanmax(ds["bound"].values)
    ax.plot(ends, ends, color="0.3", linewidth=0.8, linestyle="--", zorder=0, label="equality")
    ax.set(xscale="log", yscale="log", xlabel="bound by geometric complexity", ylabel="measured cdnv")
    ax.legend(fontsize="small", frameon=False)
    ax.tick_params(labelsize="small")
    sns.despine(ax=ax)
    return drawn
