"""Features that flow down the squared error collapse all the way, and end where the closed form says.

- Paper: Tirer 2022. Along the flow of the features, with the classifier kept optimal, ``tr S_W / tr S_B`` falls,
  ``exp(2 lH t) tr S_W`` falls and ``exp(2 lH t) tr S_B`` rises, from any start; the minimum is an orthogonal frame of
  squared norm ``(1 - c) sqrt(lW/lH)``, ``c = sqrt(lW lH)``, and zero from ``c = 1`` on; held to given features, it is
  the more collapsed the weaker they are held.
- Measured: the flow from random features, step by step; the minima over a grid of c on both sides of one; and those
  over a range of the penalty that holds the features.
- Refuted if: one step goes the wrong way, or a norm is off the closed form.
- Negative control: features that are held firmly to where they were do not collapse.
"""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.figure import Figure

from layerwise.store import Store
from layerwise.studies.frame import Claim, Seed, claim, over_seeds
from layerwise.studies.frame.ticks import plain_log
from layerwise.theory import feature_flow, perturbed_minimiser
from layerwise.theory.optimise import best, solve_many
from layerwise.theory.perturbation import perturbed
from layerwise.theory.problems import class_means

__all__ = ["GROUP", "SCALES", "Settings", "claims", "figure", "run"]

GROUP = "theory"


@dataclass(frozen=True)
class Settings:
    """What flows.

    Attributes
    ----------
    classes, samples, width : int
        K classes of n samples each, with features of so many dimensions.
    weight_decay, feature_decay : float
        ``lW`` and ``lH`` of the flow.
    levels : tuple of float
        ``c`` of the minima.
    attachments : tuple of float
        Penalties ``beta`` that hold features to where they were.
    seeds : int
    """

    classes: int = 3
    samples: int = 4
    width: int = 6
    weight_decay: float = 0.1
    feature_decay: float = 0.05
    levels: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 1.03, 1.2)
    attachments: tuple[float, ...] = (10.0, 1.0, 0.1, 0.01, 0.001)
    seeds: int = 5


SCALES = {
    "quick": Settings(samples=2, width=4, levels=(0.3, 0.97, 1.03), attachments=(1.0, 0.1), seeds=1),
    "default": Settings(),
    "full": Settings(classes=6, samples=8, width=16),
}

TIMES = np.linspace(0, 12, 61)


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Let features flow, and find the minima.

    Returns
    -------
    Dataset
        ``within`` and ``between`` over ``(seed, time)``; ``norm`` and ``predicted`` over ``(seed, level)``; ``held``
        (``tr S_W / tr S_B`` at the minimum) over ``(seed, attachment)``, ``start`` over ``seed``.
    """
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    classes, counts = settings.classes, [settings.samples] * settings.classes
    given = np.random.default_rng(seed.number).standard_normal((sum(counts), settings.width))
    decays = settings.weight_decay, settings.feature_decay
    flow = feature_flow(given, classes, *decays, TIMES)
    norms, predicted = [], []
    for level in settings.levels:
        own = 2 * level, level / 2
        point = best(solve_many(perturbed(given, classes, *own), 2, seed.number)).point
        means = class_means(point["features"], counts)
        norms.append((means**2).sum(1))
        predicted.append(perturbed_minimiser(classes, settings.samples, *own).mean_norms ** 2)
    held = []
    for attachment in settings.attachments:
        problem = perturbed(given, classes, *decays, attachment)
        held.append(_variability(best(solve_many(problem, 2, seed.number)).point["features"], counts))
    return xr.Dataset(
        {
            "within": ("time", flow.within, {"long_name": "tr S_W"}),
            "between": ("time", flow.between, {"long_name": "tr S_B"}),
            "norm": (["level", "class"], np.array(norms), {"long_name": "squared norm of a class mean"}),
            "predicted": (["level", "class"], np.array(predicted), {"long_name": "squared norm of a class mean"}),
            "held": ("attachment", np.array(held), {"long_name": "tr S_W / tr S_B"}),
            "start": _variability(given, counts),
        },
        coords={"time": TIMES, "level": list(settings.levels), "attachment": list(settings.attachments)},
    )


def _variability(features: np.ndarray, counts: list[int]) -> float:
    means = class_means(features, counts)
    within = ((features - np.repeat(means, counts, axis=0)) ** 2).sum() / len(features)
    return float(within / ((means - means.mean(0)) ** 2).sum(1).mean())


def claims(ds: xr.Dataset) -> list[Claim]:
    """Every step goes the way of the theorem, minima are the predicted ones, and weaker attachment collapses more."""
    growth = xr.apply_ufunc(np.exp, 2 * ds.attrs["feature_decay"] * ds["time"])
    ratio = ds["within"] / ds["between"]
    off = abs(ds["norm"] - ds["predicted"]) / ds["predicted"].max()
    order = ds["held"].diff("attachment")
    stiff = ds["held"].isel(attachment=0) / ds["start"]
    return [
        claim("greatest relative step of tr S_W / tr S_B", _step(ratio), "<", 0),
        claim("greatest relative step of exp(2 lH t) tr S_W", _step(growth * ds["within"]), "<", 0),
        claim("least relative step of exp(2 lH t) tr S_B", -_step(-growth * ds["between"]), ">", 0),
        claim("greatest distance of a squared norm from the closed form", off.max(["level", "class"]), "<=", 1e-6),
        claim("greatest change of tr S_W / tr S_B as the attachment weakens", order.max("attachment"), "<", 0),
        claim("tr S_W / tr S_B where features are held most, over that of the given", stiff, ">=", 0.5, control=True),
    ]


def _step(path: xr.DataArray) -> xr.DataArray:
    """Greatest step, relative to where it starts."""
    steps: xr.DataArray = path.diff("time") / abs(path.isel(time=slice(0, -1)).values)
    return steps.max("time")


def figure(ds: xr.Dataset) -> Figure:
    """The flow, the norms at its end, and what a weaker attachment does."""
    drawn, (left, middle, right) = plt.subplots(1, 3, figsize=(7.2, 2.6), layout="constrained")
    growth = xr.apply_ufunc(np.exp, 2 * ds.attrs["feature_decay"] * ds["time"])
    within, between = sns.color_palette("colorblind", 2)
    for place in range(ds.sizes["seed"]):
        of_seed = ds.isel(seed=place)
        words = (r"tr $S_W$", r"tr $S_B$") if place == 0 else (None, None)
        left.plot(ds["time"], growth * of_seed["within"], color=within, linewidth=1, label=words[0])
        left.plot(ds["time"], growth * of_seed["between"], color=between, linewidth=1, label=words[1])
        middle.plot(ds["level"], of_seed["norm"].mean("class"), "o", color=within, markersize=3)
        right.plot(ds["attachment"], of_seed["held"], "o-", color=within, markersize=3, linewidth=0.8)
    fine = np.linspace(0, float(ds["level"].max()), 200)
    middle.plot(fine, 2 * (1 - fine).clip(min=0), color="0.3", linewidth=0.8, zorder=0, label="closed form")
    middle.plot([], [], "o", color=within, markersize=3, label="found by descent")
    left.set(yscale="log", xlabel="time", ylabel=r"$e^{2\lambda_H t}$ times the trace")
    plain_log(left.yaxis)
    middle.set(xlabel=r"$c=\sqrt{\lambda_W\lambda_H}$", ylabel="squared norm of a mean")
    right.set(xscale="log", yscale="log", xlabel=r"attachment $\beta$", ylabel=r"tr $S_W$ / tr $S_B$")
    for ax in (left, middle):
        ax.legend(fontsize="x-small", frameon=False)
    for ax, title in ((left, "a  flow"), (middle, "b  minimum"), (right, "c  held to given features")):
        ax.set_title(title, loc="left", fontsize="medium")
        ax.tick_params(labelsize="small")
        sns.despine(ax=ax)
    return drawn
