"""Linear heads of two layers and more collapse what comes before them, and their layers get better conditioned.

- Paper: Jacot 2024. Trained with a small weight decay on frozen features, a head of D linear layers has layers of the
  condition number ``kappa(B)^(1/D)``, with B the interpolator of least norm; they are balanced; and the variance
  within classes vanishes before the last of two layers.
- Measured: heads of one to five layers on random features, found by descent while weight decay falls to 1e-8.
- Refuted if: a condition number is off the closed form, its logarithm does not go with ``1/D``, or variance stays
  before the last of two layers.
- Negative control: before a head of one layer the variance stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.figure import Figure

from layerwise.store import Store
from layerwise.studies.frame import Claim, Seed, claim, over_seeds
from layerwise.studies.frame.ticks import plain_log
from layerwise.theory import linear_head
from layerwise.theory.optimise import best, solve, solve_many
from layerwise.theory.problems import class_means, labels_of, network

__all__ = ["GROUP", "SCALES", "Settings", "claims", "figure", "run"]

GROUP = "theory"


@dataclass(frozen=True)
class Settings:
    """What is solved.

    Attributes
    ----------
    classes, samples, width : int
        K classes of n samples each, with features of so many dimensions.
    depths : tuple of int
        Layers of the heads.
    seeds : int
    """

    classes: int = 3
    samples: int = 3
    width: int = 12
    depths: tuple[int, ...] = (1, 2, 3, 4, 5)
    seeds: int = 5


SCALES = {
    "quick": Settings(samples=2, width=8, depths=(1, 2, 3), seeds=1),
    "default": Settings(),
    "full": Settings(classes=5, samples=4, width=25, depths=(1, 2, 3, 4, 5, 6, 8)),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Train the heads.

    Returns
    -------
    Dataset
        ``condition`` (the worst layer), ``predicted``, ``imbalance`` and ``variability`` (``tr S_W / tr S_B`` of the
        last layer's input) over ``(seed, depth)``.
    """
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    generator = np.random.default_rng(seed.number)
    counts = [settings.samples] * settings.classes
    spread = np.linspace(0.5, 2, settings.width)
    features = generator.standard_normal((sum(counts), settings.width)) * spread
    targets = np.eye(settings.classes)[labels_of(counts)]
    rows = []
    for depth in settings.depths:
        layers = _trained(features, targets, depth, seed.number)
        predicted = linear_head(features, targets, depth).condition_number
        conditions = np.array([_condition(layer, settings.classes) for layer in layers])
        # Of the layers, the one that is furthest from what is predicted.
        condition = conditions[abs(np.log(conditions / predicted)).argmax()]
        apart = [upper.T @ upper - lower @ lower.T for lower, upper in pairwise(layers)]
        imbalance = max((float(np.linalg.norm(gap)) for gap in apart), default=0.0) / float(
            np.linalg.norm(layers[-1]) ** 2
        )
        hidden = features
        for layer in layers[:-1]:
            hidden = hidden @ layer.T
        rows.append((condition, predicted, imbalance, _variability(hidden, counts)))
    names = {
        "condition": "condition number of a layer",
        "predicted": "predicted condition number",
        "imbalance": "imbalance of consecutive layers",
        "variability": "tr S_W / tr S_B before the last layer",
    }
    columns = zip(names.items(), np.array(rows).T, strict=True)
    values = {name: ("depth", column, {"long_name": text}) for (name, text), column in columns}
    return xr.Dataset(values, coords={"depth": list(settings.depths)})


def _trained(features: np.ndarray, targets: np.ndarray, depth: int, seed: int) -> list[np.ndarray]:
    """Layers of the best head at weight decay 1e-8, which is come to from one where no direction has died."""
    widths = [features.shape[1], *[targets.shape[1] + 1] * (depth - 1)]
    problem = network(targets, widths, [1e-3] * depth, features=features)
    solution = best(solve_many(problem, 3, seed))
    for weight_decay in (1e-5, 1e-7, 1e-8):
        problem = network(targets, widths, [weight_decay] * depth, features=features)
        solution = solve(problem, solution.point, cutoff=1e-13)
    return [solution.point[name] for name in (*sorted(set(solution.point) - {"weight"}), "weight")]


def _condition(layer: np.ndarray, rank: int) -> float:
    values = np.linalg.svd(layer, compute_uv=False)[:rank]
    return float(values[0] / values[-1])


def _variability(features: np.ndarray, counts: list[int]) -> float:
    means = class_means(features, counts)
    within = ((features - np.repeat(means, counts, axis=0)) ** 2).sum() / len(features)
    return float(within / ((means - means.mean(0)) ** 2).sum(1).mean())


def _slopes(ds: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Slope of ``log kappa`` over ``1/D`` in units of ``log kappa(B)``, and R^2."""
    inverse, logs = 1 / ds["depth"].astype(float), xr.apply_ufunc(np.log, ds["condition"])
    centred, deviation = inverse - inverse.mean(), logs - logs.mean("depth")
    slope = (centred * deviation).sum("depth") / (centred**2).sum()
    rest = ((deviation - slope * centred) ** 2).sum("depth")
    whole = xr.apply_ufunc(np.log, ds["predicted"]) * ds["depth"]
    return slope / whole.isel(depth=0), 1 - rest / (deviation**2).sum("depth")


def claims(ds: xr.Dataset) -> list[Claim]:
    """Condition numbers, their law, balance, and collapse before two layers but not before one."""
    slope, fit = _slopes(ds)
    deep = ds.sel(depth=ds["depth"] >= 2)
    off = abs(ds["condition"] / ds["predicted"] - 1).max("depth")
    return [
        claim("greatest relative distance of a condition number from kappa(B)^(1/D)", off, "<=", 1e-6),
        claim("R^2 of log kappa over 1/D", fit, ">", 0.999),
        claim("relative distance of the slope from log kappa(B)", abs(slope - 1), "<=", 1e-6),
        claim("imbalance of consecutive layers", deep["imbalance"].max("depth"), "<=", 1e-6),
        claim("tr S_W / tr S_B before the last of two layers or more", deep["variability"].max("depth"), "<=", 1e-6),
        claim("tr S_W / tr S_B before a head of one layer", ds["variability"].sel(depth=1), ">=", 0.1, control=True),
    ]


def figure(ds: xr.Dataset) -> Figure:
    """Conditioning over one over the depth, and variability over depth."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained")
    colours = sns.color_palette("colorblind", ds.sizes["seed"])
    for place, colour in enumerate(colours):
        of_seed = ds.isel(seed=place)
        left.plot(1 / ds["depth"], of_seed["predicted"], color=colour, linewidth=0.8)
        left.plot(1 / ds["depth"], of_seed["condition"], "o", color=colour, markersize=4)
        right.plot(ds["depth"], of_seed["variability"].clip(min=1e-30), "o-", color=colour, markersize=4, linewidth=0.8)
    left.plot([], [], "o", color="0.4", markersize=4, label="found by descent")
    left.plot([], [], color="0.4", linewidth=0.8, label=r"closed form $\kappa(B)^{1/D}$")
    left.legend(fontsize="small", frameon=False)
    left.set(yscale="log", xlabel="1 / linear layers", ylabel="condition number of a layer")
    plain_log(left.yaxis)
    right.set(
        yscale="log", xlabel="linear layers", ylabel=r"tr $S_W$ / tr $S_B$ before the last", xticks=ds["depth"].values
    )
    for ax, title in ((left, "a  conditioning, a colour a seed"), (right, "b  collapse before the last layer")):
        ax.set_title(title, loc="left", fontsize="medium")
        ax.tick_params(labelsize="small")
        sns.despine(ax=ax)
    return drawn
