"""Deeper regularised residual networks end closer to the closed form of their last layer: a simplex ETF of known norm.

- Paper: Sukenik 2025. With features of length one and a penalty ``l/2 ||W||^2`` the minimum of the cross entropy is a
  simplex ETF with ``||w_k|| = m (K-1)/K``, ``1/(e^m + K - 1) = l m (K-1)/K``; and in residual networks with weight
  decay on all layers collapse tightens with depth.
- Measured: the norm where Riemannian descent ends, over a grid of penalties; and ``tr S_W / tr S_B`` before the
  classifier of residual networks of several depths, trained on the digits with features of length one.
- Refuted if: a norm is off the closed form, or the slope of the logarithm over that of the depth is above -0.3.
- Negative control: in the same networks before training depth does not tighten collapse.
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

from layerwise.profiling import profile
from layerwise.store import Store
from layerwise.studies.data import load_pictures
from layerwise.studies.frame import Claim, Seed, claim, over_seeds
from layerwise.studies.training import Recipe, train
from layerwise.theory import residual_minimiser
from layerwise.theory.descent import descend
from layerwise.theory.problems import chain, cross_entropy, labels_of

__all__ = ["SCALES", "Settings", "claims", "figure", "run"]


@dataclass(frozen=True)
class Settings:
    """What is solved and trained.

    Attributes
    ----------
    penalties : tuple of float
        ``l`` of the closed form.
    data : str
        A name of `layerwise.studies.data.load_pictures`.
    depths : tuple of int
        Residual blocks of the networks.
    width : int
    recipe : Recipe
    seeds : int
    """

    penalties: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
    data: str = "digits"
    depths: tuple[int, ...] = (1, 2, 4, 8, 16)
    width: int = 48
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=60, learning_rate=0.1, weight_decay=2e-3))
    seeds: int = 3


SCALES = {
    "quick": Settings(
        penalties=(1e-2, 0.1), data="digits?limit=400", depths=(1, 4), width=16, recipe=Recipe(epochs=3), seeds=1
    ),
    "default": Settings(),
    "full": Settings(data="cifar10", depths=(1, 2, 4, 8, 16, 32), width=512, recipe=Recipe(epochs=200), seeds=5),
}


class NormalisedResidual(nn.Module):
    """Residual blocks without norms ``h + W_2 relu(W_1 h)``, features of length one, and a classifier without bias."""

    def __init__(self, features: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(depth)
        )
        for name, weight in self.blocks.named_parameters():
            if name.endswith("2.weight"):
                nn.init.normal_(weight, std=(width * depth) ** -0.5)
        self.normalised = nn.Identity()
        self.classifier = nn.Linear(width, classes, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores, shape ``(n, K)``."""
        hidden = self.stem(inputs.flatten(1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        scores: Tensor = self.classifier(self.normalised(nn.functional.normalize(hidden, dim=1)))
        return scores


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Solve for the last layer, and train the networks.

    Returns
    -------
    Dataset
        ``norm`` and ``predicted`` over ``(seed, penalty)``; ``variability`` and ``untrained`` (``tr S_W / tr S_B``
        before the classifier), ``etf_error`` and ``error`` over ``(seed, blocks)``.
    """
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    inputs, labels = load_pictures(settings.data)["train"]
    classes = int(labels.max()) + 1
    solved = [_solved(classes, penalty, seed.number) for penalty in settings.penalties]
    trained = []
    for depth in settings.depths:
        torch.manual_seed(seed.number)
        network = NormalisedResidual(inputs[0].numel(), classes, settings.width, depth)
        before = _last_layer(network, inputs, labels)["nc1_trace"]
        train(network, inputs, labels, settings.recipe, seed=seed.number, checkpoint=seed.checkpoint(f"depth{depth}"))
        after = _last_layer(network, inputs, labels)
        trained.append((after["nc1_trace"], before, after["etf_error"], after["network_error"]))
    variability, untrained, etf_error, error = np.array(trained).T
    return xr.Dataset(
        {
            "norm": (["penalty", "class"], np.array([norms for norms, _ in solved]), {"long_name": "row norm"}),
            "predicted": ("penalty", np.array([norm for _, norm in solved]), {"long_name": "row norm"}),
            "variability": ("blocks", variability, {"long_name": "tr S_W / tr S_B"}),
            "untrained": ("blocks", untrained, {"long_name": "tr S_W / tr S_B before training"}),
            "etf_error": ("blocks", etf_error, {"long_name": "distance from a simplex ETF"}),
            "error": ("blocks", error, {"long_name": "training error"}),
        },
        coords={"penalty": list(settings.penalties), "blocks": list(settings.depths)},
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
    ds = profile(network, [(inputs, labels)], layers=["normalised"], metrics=["nc1_trace", "etf_error"])
    return {name: float(ds[name].squeeze()) for name in ("nc1_trace", "etf_error", "network_error")}


def _slope(values: xr.DataArray) -> xr.DataArray:
    x, y = (xr.apply_ufunc(np.log, array.astype(float)) for array in (values["blocks"], values))
    slope: xr.DataArray = xr.cov(x, y, dim="blocks") / x.var("blocks", ddof=1)
    return slope


def claims(ds: xr.Dataset) -> list[Claim]:
    """The norm, and the slope of collapse over depth, trained and not."""
    off = abs(ds["norm"] / ds["predicted"] - 1).max(["penalty", "class"])
    slope = "slope of log(tr S_W / tr S_B) over log(depth)"
    return [
        claim("greatest relative distance of a row's norm from the closed form", off, "<=", 1e-6),
        claim(slope, _slope(ds["variability"]), "<", -0.3),
        claim(f"{slope}, untrained", _slope(ds["untrained"]), ">", -0.3, control=True),
    ]


def figure(ds: xr.Dataset) -> Figure:
    """The norm over the penalty, and collapse over depth."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained")
    trained, untrained = sns.color_palette("colorblind", 2)
    left.plot(ds["penalty"], ds["predicted"].isel(seed=0), color="0.3", linewidth=0.8, label="closed form")
    left.plot(
        ds["penalty"], ds["norm"].mean(["seed", "class"]), "o", color=trained, markersize=4, label="found by descent"
    )
    left.set(xscale="log", xlabel=r"penalty $\lambda$", ylabel=r"norm of a row, $m(K-1)/K$")
    for name, colour, label in (("variability", trained, "trained"), ("untrained", untrained, "before training")):
        values = ds[name]
        right.plot(ds["blocks"], values.median("seed"), "-", color=colour, linewidth=1, label=label)
        for place in range(ds.sizes["seed"]):
            right.plot(ds["blocks"], values.isel(seed=place), "o", color=colour, markersize=3, alpha=0.6)
    right.set(xscale="log", yscale="log", xlabel="residual blocks", ylabel=r"tr $S_W$ / tr $S_B$ before the classifier")
    right.set_xticks(ds["blocks"].values, labels=[str(blocks) for blocks in ds["blocks"].values])
    right.minorticks_off()
    for ax, title in ((left, "a  last layer"), (right, "b  whole network")):
        ax.set_title(title, loc="left", fontsize="medium")
        ax.legend(fontsize="small", frameon=False)
        ax.tick_params(labelsize="small")
        sns.despine(ax=ax)
    return drawn
