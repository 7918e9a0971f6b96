"""Regression networks collapse in their top layers onto as many directions as the target has, where weights decay.

- Paper: Rangamani & Unal 2024, *Deep neural regression collapse*; Andriopoulos et al. 2024, *The prevalence of neural
  collapse in neural multivariate regression*.
- Measured: on the training set, in the top three hidden layers: `nrc1` (the share of variance outside as many principal
  directions as the target has), `nrc2_cka` (features and targets), `nrc3_alignment` (features and the next linear map);
  and `target_rank` (directions with 99% of the variance) where 5 targets lie in 2 dimensions.
- Refuted if: with weight decay `nrc1` is 1e-3 or more, or CKA or alignment .99 or less; or the rank found is not 2.
- Negative control: without weight decay `nrc1` has to stay above .03.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from layerwise.studies.data import Splits, load_river_flow, teacher_regression
from layerwise.studies.frame import Claim, Seed, claim, over_seeds, side_by_side
from layerwise.studies.frame.ticks import plain_log
from layerwise.studies.networks import MLP
from layerwise.studies.training import Recipe, train_and_track

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from layerwise.store import Store

__all__ = ["SCALES", "Settings", "claims", "figure", "run"]

_METRICS = ("nrc1", "nrc2_cka", "nrc3_alignment", "target_rank", "target_dimensions")
_TEACHERS = {"teacher": (2, 2), "teacher of rank 2": (5, 2)}


@dataclass(frozen=True)
class Settings:
    """A multilayer perceptron whose weights decay and whose biases go free; teachers, and a river."""

    river: str = "river-flow?limit=2000"
    samples: int = 1000
    depth: int = 6
    width: int = 64
    recipe: Recipe = field(
        default_factory=lambda: Recipe(epochs=400, batch_size=100, weight_decay=2e-3, decay_biases=False)
    )
    seeds: int = 5


SCALES = {
    "quick": Settings(river="", samples=100, depth=3, width=16, recipe=Recipe(epochs=3, decay_biases=False), seeds=1),
    "default": Settings(),
    "full": Settings(
        river="river-flow",
        samples=10_000,
        depth=8,
        width=256,
        recipe=Recipe(epochs=1000, batch_size=100, weight_decay=2e-3, decay_biases=False),
    ),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Train on each problem with weight decay and without, over seeds."""
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    problems = {
        name: teacher_regression(settings.samples, 10, targets, rank, seed=seed.number)
        for name, (targets, rank) in _TEACHERS.items()
    }
    if settings.river:
        problems["river"] = load_river_flow(settings.river)
    return side_by_side(
        {
            name: side_by_side({decay: _train(settings, seed, name, splits, decay) for decay in (True, False)}, "decay")
            for name, splits in problems.items()
        },
        "problem",
    )


def _train(settings: Settings, seed: Seed, name: str, splits: Splits, decay: bool) -> xr.Dataset:
    inputs, targets = splits["train"]
    torch.manual_seed(seed.number)
    network = MLP(inputs.shape[1], targets.shape[1], width=settings.width, depth=settings.depth)
    ds = train_and_track(
        network,
        splits,
        settings.recipe if decay else replace(settings.recipe, weight_decay=0.0),
        seed,
        f"{name}-{'decay' if decay else 'none'}",
        metrics=_METRICS,
        loss=nn.functional.mse_loss,
        layers="blocks.*",
    )
    last = ds.isel(epoch=-1, target=0).sel(split="train")[[*_METRICS, "network_mse"]]
    return last.reset_coords(drop=True).assign_coords(layer=range(1, settings.depth + 1))


def claims(ds: xr.Dataset) -> list[Claim]:
    """The worst of the top three layers against the bounds."""
    top = ds.isel(layer=slice(-3, None))
    judged = []
    for name in ds["problem"].values:
        decayed, free = (top.sel(problem=name, decay=decay) for decay in (True, False))
        if name == "teacher of rank 2":
            rank = abs(decayed["target_rank"] - 2).max("layer")
            judged.append(claim("5 targets in 2 dimensions: rank found, off 2 by (target_rank)", rank, "<=", 0))
            continue
        judged += [
            claim(f"{name}: variance outside the target's directions (nrc1)", decayed["nrc1"].max("layer"), "<", 1e-3),
            claim(f"{name}: CKA of features and targets (nrc2_cka)", decayed["nrc2_cka"].min("layer"), ">", 0.99),
            claim(
                f"{name}: alignment with the next map (nrc3_alignment)",
                decayed["nrc3_alignment"].min("layer"),
                ">",
                0.99,
            ),
            claim(f"{name}, no weight decay: nrc1", free["nrc1"].max("layer"), ">", 0.03, control=True),
        ]
    return judged


def figure(ds: xr.Dataset) -> Figure:
    """The three conditions over layers, with and without weight decay; a row a problem."""
    from matplotlib import pyplot as plt

    names = ("nrc1", "nrc2_cka", "nrc3_alignment", "target_rank")
    titles = ("NRC1: variance outside", "NRC2: CKA with targets", "NRC3: alignment with next map", "directions in use")
    bounds = {"nrc1": 1e-3, "nrc2_cka": 0.99, "nrc3_alignment": 0.99}
    problems = ds["problem"].values
    size = (9.6, 0.6 + 1.9 * len(problems))
    figure, panels = plt.subplots(len(problems), 4, figsize=size, layout="constrained", sharex=True, squeeze=False)
    for place, (row, problem) in enumerate(zip(panels, problems, strict=True)):
        for ax, name, title in zip(row, names, titles, strict=True):
            for decay, colour, label in ((True, "C0", "weight decay"), (False, "C3", "none (control)")):
                values = ds[name].sel(problem=problem, decay=decay).transpose("layer", "seed")
                ax.plot(ds["layer"], values, color=colour, alpha=0.25, linewidth=0.8)
                ax.plot(ds["layer"], values.median("seed"), "o-", color=colour, markersize=3, label=label)
            if name in bounds:
                ax.axhline(bounds[name], color="0.4", linestyle=":", linewidth=1)
            ax.set_yscale("log" if name in ("nrc1", "target_rank") else "linear")
            if place == 0:
                ax.set_title(title, fontsize="medium")
            if place == len(problems) - 1:
                ax.set_xlabel("hidden layer")
        row[0].set_ylabel(problem)
        plain_log(row[-1].yaxis)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure
