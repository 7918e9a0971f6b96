"""What lowers the geometric complexity of a network makes it collapse, and collapse on its classes helps with new ones.

- Paper: Munn et al. 2024, *The impact of geometric complexity on neural collapse in transfer learning*; Galanti et al.
  2021 and Li et al. 2022 on collapse and few-shot transfer.
- Measured: `geometric_complexity` and `cdnv` of the last hidden layer on the training set, and the accuracy of the
  nearest mean of a few shots on classes that were left out; while learning rate, batch size or weight decay is varied
  and the other two stay.
- Refuted if: the rank correlation of complexity and CDNV is below .8 over any of the three or over all networks, or if
  lower CDNV does not go with better accuracy on the new classes.
- Negative control: networks that were trained on permuted labels, over the learning rate. Their classes mean nothing,
  so lower CDNV may not go with better accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from scipy.stats import spearmanr
from torch import Tensor

from layerwise.studies.data import Splits, load_pictures
from layerwise.studies.frame import Claim, Seed, claim, over_seeds
from layerwise.studies.frame.ticks import plain_log
from layerwise.studies.networks import MLP
from layerwise.studies.training import Recipe, train_and_track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from layerwise.store import Store

__all__ = ["SCALES", "Settings", "claims", "few_shot_accuracy", "figure", "run"]

#: What is varied, by its name in the recipe.
KNOBS = {"learning_rate": "learning rate", "batch_size": "batch size", "weight_decay": "weight decay"}


@dataclass(frozen=True)
class Settings:
    """Multilayer perceptrons on most classes of a data set.

    Attributes
    ----------
    source : int
        Classes to train on; the others are new. Which they are is drawn by the seed.
    learning_rates, batch_sizes, weight_decays : tuple
        What takes the place of the recipe's own.
    shots, episodes : int
        Samples of each new class that means are taken from, and how often they are drawn.
    """

    data: str = "digits"
    source: int = 7
    depth: int = 3
    width: int = 128
    recipe: Recipe = field(
        default_factory=lambda: Recipe(
            epochs=60, batch_size=32, learning_rate=0.03, weight_decay=1e-3, schedule="constant"
        )
    )
    learning_rates: tuple[float, ...] = (0.005, 0.01, 0.02, 0.04, 0.08)
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64, 128)
    weight_decays: tuple[float, ...] = (0.0, 5e-4, 1e-3, 2e-3, 5e-3)
    shots: int = 5
    episodes: int = 50
    seeds: int = 5


SCALES = {
    "quick": Settings(
        data="digits?limit=300",
        width=32,
        recipe=Recipe(epochs=2, batch_size=32, learning_rate=0.03, weight_decay=1e-3, schedule="constant"),
        learning_rates=(0.01, 0.03, 0.1),
        batch_sizes=(16, 32, 64),
        weight_decays=(0.0, 1e-3, 1e-2),
        episodes=5,
        seeds=1,
    ),
    "default": Settings(),
    "full": Settings(data="cifar10", depth=6, width=1024, recipe=Recipe(epochs=200, batch_size=128, weight_decay=1e-4)),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Train a network for every value of every knob, over seeds."""
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    generator = torch.Generator().manual_seed(seed.number)
    source, new = _divided(load_pictures(settings.data), settings.source, generator)
    labels = source[1][torch.randperm(len(source[1]), generator=generator)]
    rows = []
    for name, knob, value, recipe in _recipes(settings):
        torch.manual_seed(seed.number)
        network = MLP(source[0][0].numel(), settings.source, width=settings.width, depth=settings.depth)
        splits = {"train": (source[0], labels if knob == "permuted" else source[1])}
        ds = train_and_track(
            network,
            splits,
            recipe,
            seed,
            name,
            metrics=["geometric_complexity", "cdnv"],
            layers=f"blocks.{settings.depth - 1}",
        )
        own = ds.isel(epoch=-1, split=0, target=0, layer=0)
        with torch.no_grad():
            features = network.blocks(new[0].flatten(1))
        draws = torch.Generator().manual_seed(seed.number)
        accuracy = few_shot_accuracy(features, new[1], settings.shots, settings.episodes, draws)
        rows.append((knob, value, own["geometric_complexity"].item(), own["cdnv"].item(), accuracy))
    knobs, values, complexity, cdnv, accuracies = zip(*rows, strict=True)
    return xr.Dataset(
        {
            "geometric_complexity": ("network", list(complexity)),
            "cdnv": ("network", list(cdnv)),
            "few_shot_accuracy": ("network", list(accuracies)),
        },
        {"knob": ("network", list(knobs)), "value": ("network", list(values))},
    )


def _recipes(settings: Settings) -> Iterator[tuple[str, str, float, Recipe]]:
    """A name, the knob, its value and the recipe of every network; the control is over the learning rate."""
    for knob in KNOBS:
        for value in getattr(settings, f"{knob}s"):
            yield f"{knob}-{value}", knob, value, replace(settings.recipe, **{knob: value})
    for value in settings.learning_rates:
        yield f"permuted-{value}", "permuted", value, replace(settings.recipe, learning_rate=value)


def _divided(
    splits: Splits, count: int, generator: torch.Generator
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training samples of some classes, and all samples of the others, with labels from 0."""
    inputs, labels = (torch.cat(parts) for parts in zip(*splits.values(), strict=True))
    classes = labels.unique()
    drawn = classes[torch.randperm(len(classes), generator=generator)]
    source, new = drawn[:count].sort().values, drawn[count:].sort().values
    train = torch.isin(splits["train"][1], source)
    others = torch.isin(labels, new)
    return (
        (splits["train"][0][train], torch.searchsorted(source, splits["train"][1][train])),
        (inputs[others], torch.searchsorted(new, labels[others])),
    )


def few_shot_accuracy(features: Tensor, labels: Tensor, shots: int, episodes: int, generator: torch.Generator) -> float:
    """Accuracy of the nearest mean of a few samples a class on all others, averaged over draws.

    Parameters
    ----------
    features, labels : Tensor
        Shape ``(n, d)`` and ``(n,)``, labels from 0.
    shots, episodes : int
        Samples a class, and draws.
    generator : Generator
    """
    classes = range(int(labels.max()) + 1)
    found = []
    for _ in range(episodes):
        order = torch.randperm(len(labels), generator=generator)
        shown = torch.stack([order[labels[order] == label][:shots] for label in classes])
        asked = order[~torch.isin(order, shown)]
        nearest = torch.cdist(features[asked], features[shown].mean(1)).argmin(1)
        found.append((nearest == labels[asked]).double().mean().item())
    return float(np.mean(found))


def claims(ds: xr.Dataset) -> list[Claim]:
    """Complexity and CDNV go together, and lower CDNV with better accuracy on new classes; not on permuted labels."""
    found = []
    true = ds.isel(network=(ds["knob"] != "permuted").values)
    groups = {name: true.isel(network=(true["knob"] == knob).values) for knob, name in KNOBS.items()}
    for name, own in {**groups, "all networks": true}.items():
        found += [
            claim(
                f"over {name}: rank correlation of geometric complexity and CDNV",
                _correlations(own, "geometric_complexity", "cdnv"),
                ">=",
                0.8,
            ),
            claim(
                f"over {name}: rank correlation of CDNV and few-shot accuracy on new classes",
                _correlations(own, "cdnv", "few_shot_accuracy"),
                "<",
                0.0,
            ),
        ]
    control = ds.isel(network=(ds["knob"] == "permuted").values)
    text = "over learning rate, permuted labels: rank correlation of CDNV and few-shot accuracy"
    return [*found, claim(text, _correlations(control, "cdnv", "few_shot_accuracy"), ">=", 0.0, control=True)]


def _correlations(ds: xr.Dataset, one: str, other: str) -> list[float]:
    return [float(spearmanr(ds[one][seed], ds[other][seed]).statistic) for seed in range(ds.sizes["seed"])]


def figure(ds: xr.Dataset) -> Figure:
    """CDNV against complexity, and accuracy on new classes against CDNV: means over seeds, a line for each knob."""
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained")
    names = {**KNOBS, "permuted": "learning rate, permuted labels (control)"}
    accuracy = 100 * ds["few_shot_accuracy"]
    pairs = [(ds["geometric_complexity"], ds["cdnv"]), (ds["cdnv"], accuracy)]
    for ax, (across, up) in zip(panels, pairs, strict=True):
        for (knob, name), colour in zip(names.items(), ("C0", "C1", "C2", "0.55"), strict=True):
            if knob == "permuted" and ax is panels[0]:
                continue
            own = (ds["knob"] == knob).values
            x, y = across.isel(network=own), up.isel(network=own)
            ax.errorbar(
                x.mean("seed"),
                y.mean("seed"),
                xerr=x.std("seed") / ds.sizes["seed"] ** 0.5,
                yerr=y.std("seed") / ds.sizes["seed"] ** 0.5,
                fmt="o--" if knob == "permuted" else "o-",
                color=colour,
                label=name,
                markersize=3.5,
                linewidth=1,
                elinewidth=0.7,
            )
        ax.set_xscale("log")
    panels[0].set(xlabel="geometric complexity", ylabel="CDNV, source classes", yscale="log")
    panels[1].set(xlabel="CDNV, source classes", ylabel="few-shot accuracy, new classes (%)")
    plain_log(panels[0].xaxis)
    plain_log(panels[0].yaxis)
    shown = panels[1].get_legend_handles_labels()
    figure.legend(*shown, loc="outside lower center", ncols=4, fontsize="x-small", frameon=False)
    return figure
