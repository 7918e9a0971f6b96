"""The squared error of any layer splits into what collapse still has to do and what the classifier is off.

- Paper: Han 2021. At every layer of every network, and for any linear readout, the squared error is the sum of an NC1
  part, an NC2/3 part, both told by the eigenvalues of ``S_W^+ S_B``, and the distance of the readout from the
  least-squares classifier; training goes to the central path, where the last is nothing.
- Measured: the parts and the loss itself at all layers of a network on the digits, before training and after, with
  the least-squares classifier, with a random one, and with the network's own where it reads the layer.
- Refuted if: the parts do not add up to the loss, or the last does not fall in training.
- Negative control: without the distance from the least-squares classifier the parts do not add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
import xarray as xr
from matplotlib.figure import Figure
from torch import Tensor, nn

from layerwise.store import Store
from layerwise.studies.data import load_pictures
from layerwise.studies.frame import Claim, Seed, claim, over_seeds
from layerwise.studies.networks import ResidualMLP
from layerwise.studies.training import Recipe, train
from layerwise.theory import least_squares, loss_parts

__all__ = ["GROUP", "SCALES", "Settings", "claims", "figure", "run"]

GROUP = "theory"


@dataclass(frozen=True)
class Settings:
    """What is trained and split.

    Attributes
    ----------
    data : str
        A name of `layerwise.studies.data.load_pictures`.
    each : int
        Samples of each class that are taken: the split is of equal classes.
    width, depth : int
        Of the residual network.
    recipe : Recipe
        With squared error.
    seeds : int
    """

    data: str = "digits"
    each: int = 100
    width: int = 32
    depth: int = 4
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=40, learning_rate=0.05, weight_decay=1e-3))
    seeds: int = 5


SCALES = {
    "quick": Settings(data="digits?limit=600", each=30, width=16, depth=2, recipe=Recipe(epochs=3), seeds=1),
    "default": Settings(),
    "full": Settings(data="cifar10", each=5000, width=256, depth=8, recipe=Recipe(epochs=200)),
}

STATES = ("untrained", "trained")


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Train, and split the loss at every layer.

    Returns
    -------
    Dataset
        Over ``(seed, state, layer)``: ``within``, ``between`` and ``distance`` of a random readout, ``least``, the
        loss of the least-squares classifier itself, ``loss``, that of the random one; ``own``, the distance of the
        network's own classifier, over ``(seed, state)``.
    """
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    inputs, labels = _equal(*load_pictures(settings.data)["train"], settings.each)
    classes = int(labels.max()) + 1
    torch.manual_seed(seed.number)
    network = ResidualMLP(inputs[0].numel(), classes, settings.width, settings.depth)
    split = [_split(network, inputs, labels, seed.number)]
    train(network, inputs, labels, settings.recipe, seed=seed.number, loss=_loss, checkpoint=seed.checkpoint("network"))
    split.append(_split(network, inputs, labels, seed.number))
    layers = np.array([layers for layers, _ in split])
    names = {
        "within": "NC1 part",
        "between": "NC2 and NC3 part",
        "distance": "distance of a random readout from least squares",
        "least": "loss of the least-squares classifier",
        "loss": "loss of a random readout",
    }
    values = {
        name: (["state", "layer"], layers[..., place], {"long_name": names[name]}) for place, name in enumerate(names)
    }
    own = {"own": ("state", [own for _, own in split], {"long_name": "distance of the network's own classifier"})}
    return xr.Dataset(values | own, coords={"state": list(STATES), "layer": ["stem", *map(str, range(settings.depth))]})


def _equal(inputs: Tensor, labels: Tensor, each: int) -> tuple[Tensor, Tensor]:
    """The first `each` samples of every class."""
    rows = torch.cat([torch.nonzero(labels == label).squeeze(1)[:each] for label in labels.unique()])
    return inputs[rows], labels[rows]


def _loss(outputs: Tensor, labels: Tensor) -> Tensor:
    targets = nn.functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return (outputs - targets).square().sum(1).mean() / 2


def _split(network: ResidualMLP, inputs: Tensor, labels: Tensor, seed: int) -> tuple[list[list[float]], float]:
    """Parts and losses at every layer, and how far the network's own classifier is from least squares."""
    network.eval()
    generator, answers = np.random.default_rng(seed), labels.numpy()
    targets = np.eye(int(answers.max()) + 1)[answers]
    found = []
    with torch.no_grad():
        hidden = network.stem(inputs.flatten(1))
        layers = [hidden]
        for block in network.blocks:
            layers.append(block(layers[-1]))
    for layer in layers:
        features = layer.double().numpy()
        weight = generator.standard_normal((targets.shape[1], features.shape[1])) / features.shape[1]
        bias = generator.standard_normal(targets.shape[1])
        parts = loss_parts(features, answers, weight, bias)
        least = _error(features, targets, *least_squares(features, targets))
        found.append([parts.within, parts.between, parts.distance, least, _error(features, targets, weight, bias)])
    own = network.classifier.weight.detach().double().numpy(), network.classifier.bias.detach().double().numpy()
    return found, loss_parts(features, answers, *own).distance


def _error(features: np.ndarray, targets: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> float:
    return float(((features @ weight.T + bias - targets) ** 2).sum() / (2 * len(features)))


def claims(ds: xr.Dataset) -> list[Claim]:
    """The parts add up at all layers, and training goes to the central path."""
    over = ["state", "layer"]
    least = ds["within"] + ds["between"]
    whole = least + ds["distance"]
    falls = ds["own"].sel(state="trained") / ds["own"].sel(state="untrained")
    short = abs(least / ds["loss"] - 1)
    return [
        claim(
            "greatest relative gap of NC1 and NC2/3 parts to least squares",
            abs(least / ds["least"] - 1).max(over),
            "<=",
            1e-6,
        ),
        claim("greatest relative gap of all parts to the loss", abs(whole / ds["loss"] - 1).max(over), "<=", 1e-6),
        claim("own classifier's distance from least squares, trained over untrained", falls, "<=", 0.1),
        claim("relative gap without the distance from least squares", short.min(over), ">=", 1e-2, control=True),
    ]


def figure(ds: xr.Dataset) -> Figure:
    """The parts of the least-squares loss, layer by layer, before training and after."""
    drawn, axes = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained", sharey=True)
    first, second = sns.color_palette("colorblind", 2)
    x = np.arange(ds.sizes["layer"])
    for ax, state in zip(axes, map(str, ds["state"].values), strict=True):
        parts = ds.sel(state=state).mean("seed")
        ax.bar(x, parts["within"], color=first, label="NC1 part")
        ax.bar(x, parts["between"], bottom=parts["within"], color=second, label="NC2 and NC3 part")
        ax.plot(x, parts["least"], "k_", markersize=14, label="loss of least squares")
        ax.set_xticks(
            x, labels=[f"block {layer}" if layer.isdigit() else layer for layer in map(str, ds["layer"].values)]
        )
        ax.set_title(state, loc="left", fontsize="medium")
        ax.set_xlabel("layer")
        ax.tick_params(labelsize="small")
        sns.despine(ax=ax)
    axes[0].set_ylabel("squared error")
    axes[1].legend(fontsize="small", frameon=False)
    return drawn
