"""Every random start reaches the predicted minimum, and what is stationary elsewhere has a way down.

- Paper: Zhu 2021; Zhou 2022; Yaras 2022. The landscapes of unconstrained features under cross entropy, under squared
  error with a bias, and of features on the sphere have no valley but the global one, whose loss is known in closed
  form.
- Measured: the relative distance from the closed form of the loss that each of many random starts reaches; and at
  planted stationary points, where features and classifier fill too few directions, the least eigenvalue of the
  Hessian.
- Refuted if: one start ends elsewhere, or one planted point has no negative eigenvalue.
- Negative control: in fewer dimensions than the theorems ask for, the loss is not reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.figure import Figure

from layerwise.store import Store
from layerwise.studies.frame import Claim, Seed, claim, over_seeds
from layerwise.theory import cross_entropy_minimiser, normalised_minimiser, squared_error_minimiser
from layerwise.theory.optimise import Point, Problem, hessian, solve
from layerwise.theory.problems import chain, cross_entropy, labels_of, unconstrained_features

__all__ = ["GROUP", "SCALES", "Settings", "claims", "figure", "run"]

GROUP = "theory"


@dataclass(frozen=True)
class Settings:
    """What is solved.

    Attributes
    ----------
    classes, samples : int
        K classes of n samples each.
    levels : tuple of float
        Regularisation, in units of that at which everything is zero; for normalised features its inverse is a third of
        the temperature.
    starts : int
        Random starts for each level and seed.
    seeds : int
    """

    classes: int = 4
    samples: int = 3
    levels: tuple[float, ...] = (0.05, 0.2, 0.5, 0.9)
    starts: int = 8
    seeds: int = 5


SCALES = {
    "quick": Settings(classes=3, samples=2, levels=(0.2, 0.6), starts=2, seeds=1),
    "default": Settings(),
    "full": Settings(classes=6, samples=5, levels=(0.02, 0.05, 0.1, 0.2, 0.5, 0.9), starts=50),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Descend from random starts, and look at planted stationary points.

    Returns
    -------
    Dataset
        ``gap`` over ``(seed, model, level, start)``, ``narrow_gap`` without starts, and of the planted points
        ``excess`` and ``curvature`` over ``(seed, model, level, directions)``.
    """
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    generator, few = np.random.default_rng(seed.number), settings.classes - 2
    shape = len(_MODELS), len(settings.levels)
    gap, narrow = np.empty((*shape, settings.starts)), np.empty(shape)
    excess, curvature = np.empty((*shape, few)), np.empty((*shape, few))
    for m, model in enumerate(_MODELS.values()):
        for k, level in enumerate(settings.levels):
            wide, least = model(settings, level, settings.classes + 1)
            gap[m, k] = [solve(wide, wide.draw(generator), polish=0).loss / least - 1 for _ in range(settings.starts)]
            for directions in range(1, few + 1):
                problem, _ = model(settings, level, directions)
                found = solve(problem, problem.draw(generator))
                planted = {name: _widened(array, wide.shapes[name]) for name, array in found.point.items()}
                excess[m, k, directions - 1] = found.loss / least - 1
                curvature[m, k, directions - 1] = np.linalg.eigvalsh(hessian(wide, planted))[0]
            narrow[m, k] = excess[m, k, -1]
    dims = ["model", "level"]
    return xr.Dataset(
        {
            "gap": ([*dims, "start"], gap, {"long_name": "relative distance of the loss from the closed form"}),
            "narrow_gap": (dims, narrow),
            "excess": ([*dims, "directions"], excess, {"long_name": "relative excess of the loss"}),
            "curvature": ([*dims, "directions"], curvature, {"long_name": "least eigenvalue of the Hessian"}),
        },
        coords={"model": list(_MODELS), "level": list(settings.levels), "directions": list(range(1, few + 1))},
    )


def _widened(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The same vectors in more dimensions."""
    return np.pad(array, [(0, wide - own) for wide, own in zip(shape, array.shape, strict=True)])


def _decay(settings: Settings, level: float) -> float:
    return level / (settings.classes * float(np.sqrt(settings.samples)))


def _cross_entropy(settings: Settings, level: float, dimension: int) -> tuple[Problem, float]:
    counts, decay = [settings.samples] * settings.classes, _decay(settings, level)
    problem = unconstrained_features(counts, dimension, decay, decay, bias_decay=0.1)
    return problem, cross_entropy_minimiser(settings.classes, settings.samples, decay, decay).loss


def _squared_error(settings: Settings, level: float, dimension: int) -> tuple[Problem, float]:
    counts, decay = [settings.samples] * settings.classes, _decay(settings, level)
    problem = unconstrained_features(counts, dimension, decay, decay, bias_decay=0.1, loss="squared_error")
    return problem, squared_error_minimiser(settings.classes, settings.samples, decay, decay, 0.1).loss


def _normalised(settings: Settings, level: float, dimension: int) -> tuple[Problem, float]:
    """On the sphere, by way of a loss that knows no lengths: its Hessian is there the Riemannian one."""
    temperature = 1 / (3 * level)
    labels = labels_of([settings.samples] * settings.classes)
    shapes = {"features": (len(labels), dimension), "weight": (settings.classes, dimension)}
    base = chain(cross_entropy(labels, temperature), shapes, {})

    def objective(point: Point) -> tuple[float, Point]:
        lengths = {name: np.linalg.norm(array, axis=1, keepdims=True) for name, array in point.items()}
        unit = {name: array / lengths[name] for name, array in point.items()}
        loss, slope = base.objective(unit)
        inward = {name: (slope[name] * unit[name]).sum(1, keepdims=True) for name in unit}
        return loss, {name: (slope[name] - inward[name] * unit[name]) / lengths[name] for name in unit}

    return Problem(shapes, objective), normalised_minimiser(settings.classes, temperature).loss


_Model = Callable[[Settings, float, int], tuple[Problem, float]]
_MODELS: dict[str, _Model] = {
    "cross entropy": _cross_entropy,
    "squared error": _squared_error,
    "normalised": _normalised,
}


def claims(ds: xr.Dataset) -> list[Claim]:
    """All starts end at the closed form, all planted points are saddles, and too few dimensions do not do."""
    found = []
    for model in map(str, ds["model"].values):
        of_model = ds.sel(model=model)
        gap = abs(of_model["gap"]).max(["level", "start"])
        found.append(claim(f"{model}: greatest relative distance of the loss from the closed form", gap, "<=", 1e-6))
        steepest = of_model["curvature"].max(["level", "directions"])
        found.append(claim(f"{model}: least eigenvalue of the Hessian at a planted point", steepest, "<", -1e-6))
        narrow = of_model["narrow_gap"].min("level")
        found.append(claim(f"{model}: relative distance in K - 2 dimensions", narrow, ">=", 1e-4, control=True))
    return found


def figure(ds: xr.Dataset) -> Figure:
    """Where the starts end, and how steep the way down is from the planted points."""
    drawn, (ends, saddles) = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained")
    colours = dict(zip(map(str, ds["model"].values), sns.color_palette("colorblind"), strict=False))
    width = 0.8 / len(colours)
    for place, (model, colour) in enumerate(colours.items()):
        of_model = ds.sel(model=model)
        for k, level in enumerate(of_model["level"].values):
            values = abs(of_model["gap"].sel(level=level).values.ravel()).clip(1e-17)
            x = k - 0.4 + width * (place + np.linspace(0.15, 0.85, len(values)))
            ends.plot(x, values, ".", color=colour, markersize=3, label=model if k == 0 else None)
        saddles.plot(
            of_model["excess"].values.ravel(), -of_model["curvature"].values.ravel(), ".", color=colour, label=model
        )
    ends.axhline(1e-6, color="0.4", linestyle="--", linewidth=0.8)
    ends.set(yscale="log", xticks=range(ds.sizes["level"]), xticklabels=[f"{level:g}" for level in ds["level"].values])
    ends.set_xlabel("regularisation, 1: everything is zero", fontsize="small")
    ends.set_ylabel("relative distance of the loss\nfrom the closed form", fontsize="small")
    saddles.set(xscale="log", yscale="log")
    saddles.set_xlabel("relative excess of the loss at a planted point", fontsize="small")
    saddles.set_ylabel("negative curvature there", fontsize="small")
    saddles.legend(fontsize="small", frameon=False)
    for ax, title in ((ends, "a  where random starts end"), (saddles, "b  planted saddles")):
        ax.set_title(title, loc="left", fontsize="medium")
        ax.tick_params(labelsize="small")
        sns.despine(ax=ax)
    return drawn
