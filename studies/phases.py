"""Phase diagrams of the theory: what descent finds beside what closed forms predict, boundary and all.

- Paper: Zhou 2022; Dang 2023, 2024; Hong & Ling 2023; Andriopoulos 2024. Under squared error the frame turns from a
  simplex ETF at ``lb/(1+lb) = K m``; small classes die, or merge, where ``N^2 lW lH`` passes what their size allows;
  directions of regression targets are dropped where ``lW lH`` passes their variance.
- Measured: the order parameter of each model at the best of several descents, over a grid of two parameters, and on
  both sides of the boundary, 3% away from it.
- Refuted if: descent and closed form differ at a point by more than 1e-6, or there is order on the wrong side.
- Negative control: the closed form at parameters 5% off has to miss what descent finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from layerwise.plot import phase_diagram
from layerwise.store import Store
from layerwise.studies.closed_forms import MODELS, PhaseModel
from layerwise.studies.frame import Claim, Seed, claim, over_seeds

__all__ = ["GROUP", "SCALES", "Settings", "claims", "figure", "run"]

GROUP = "theory"

#: What descent and closed form may differ by, in units of the largest order parameter or of the loss.
AGREEMENT = 1e-6
#: Where the probes stand, in units of the boundary.
SIDES = (0.97, 1.03)


@dataclass(frozen=True)
class Settings:
    """What is solved.

    Attributes
    ----------
    models : tuple of str
        Names in `layerwise.studies.closed_forms.MODELS`.
    grid : int
        Points along each parameter.
    seeds : int
        How many sets of random starts.
    """

    models: tuple[str, ...] = tuple(MODELS)
    grid: int = 10
    seeds: int = 5


SCALES = {
    "quick": Settings(models=("squared_error", "merging"), grid=3, seeds=1),
    "default": Settings(),
    "full": Settings(grid=40),
}


def run(settings: Settings, store: Store) -> xr.Dataset:
    """Solve every model on its grid and beside its boundary.

    Returns
    -------
    Dataset
        Of every model ``NAME_found`` and ``NAME_loss`` over ``(seed, NAME_up, NAME_across)``, what is predicted,
        ``NAME_predicted`` and ``NAME_least``, the same 5% off, ``NAME_control``, and the order on both sides of the
        boundary, ``NAME_beside``.
    """
    return over_seeds(__name__, _measure, settings, store)


def _measure(settings: Settings, seed: Seed) -> xr.Dataset:
    return xr.merge([_diagram(name, MODELS[name], settings.grid, seed.number) for name in settings.models])


def _diagram(name: str, model: PhaseModel, grid: int, seed: int) -> xr.Dataset:
    across = np.array(model.across)[
        np.linspace(0, len(model.across) - 1, min(grid, len(model.across))).round().astype(int)
    ]
    up = model.highest * (np.arange(grid) + 0.5) / grid
    predicted = np.array([[model.predicted(x, y) for x in across] for y in up])
    control = np.array([[model.predicted(x, 1.05 * y)[0] for x in across] for y in up])
    solved = [[model.solve(x, y, seed) for x in across] for y in up]
    order = np.array([[model.order(x, found.point) for x, found in zip(across, row, strict=True)] for row in solved])
    beside = [[model.order(x, model.solve(x, side * model.boundary(x), seed).point) for x in across] for side in SIDES]
    dims = [f"{name}_up", f"{name}_across"]
    told = {"long_name": model.order_label}
    of_model = {
        "found": (dims, order, told),
        "loss": (dims, np.array([[found.loss for found in row] for row in solved]), {"long_name": "loss"}),
        "predicted": (dims, predicted[..., 0], told),
        "least": (dims, predicted[..., 1], {"long_name": "least loss"}),
        "control": (dims, control, told),
        "beside": (["side", dims[1]], np.array(beside), told),
    }
    axes = {dims[0]: (dims[0], up, {"long_name": model.up_label})}
    axes |= {dims[1]: (dims[1], across, {"long_name": model.across_label})}
    variables = {f"{name}_{kind}": array for kind, array in of_model.items()}
    return xr.Dataset(variables, coords={**axes, "side": list(SIDES)})


def claims(ds: xr.Dataset) -> list[Claim]:
    """Agreement of descent and closed form, order on the right side of each boundary, and the control."""
    found: list[Claim] = []
    for name in _names(ds):
        grid = [f"{name}_up", f"{name}_across"]
        predicted, beside = ds[f"{name}_predicted"], ds[f"{name}_beside"]
        size = float(predicted.max())
        apart = abs(ds[f"{name}_found"] - predicted).max(grid) / size
        found.append(claim(f"{name}: greatest distance of descent from the closed form", apart, "<=", AGREEMENT))
        if bool(ds[f"{name}_least"].notnull().any()):
            excess = abs(ds[f"{name}_loss"] / ds[f"{name}_least"] - 1).max(grid)
            found.append(claim(f"{name}: greatest relative distance of the losses", excess, "<=", AGREEMENT))
        # Under squared error the common direction is taken up above the boundary; all other order is lost there.
        inside, outside = SIDES[::-1] if name == "squared_error" else SIDES
        ordered = beside.sel(side=inside).min(grid[1]) / size
        rest = abs(beside.sel(side=outside)).max(grid[1]) / size
        found.append(claim(f"{name}: least order, 3% inside the boundary", ordered, ">=", 1e-3))
        found.append(claim(f"{name}: greatest order, 3% outside it", rest, "<=", AGREEMENT))
        missed = abs(ds[f"{name}_found"] - ds[f"{name}_control"]).max(grid) / size
        found.append(claim(f"{name}: distance from the closed form 5% off", missed, ">=", 1e-2, control=True))
    return found


def figure(ds: xr.Dataset) -> Figure:
    """Every model's order parameter, found and predicted, with the boundary."""
    names = _names(ds)
    size = (7.2, 2.4 * len(names))
    drawn, axes = plt.subplots(len(names), 2, figsize=size, layout="constrained", squeeze=False, sharey="row")
    for letter, name, row in zip(ascii_lowercase, names, axes, strict=False):
        model, predicted = MODELS[name], ds[f"{name}_predicted"].isel(seed=0)
        half = (model.across[1] - model.across[0]) / 2
        x = np.linspace(model.across[0] - half, model.across[-1] + half, 200)
        boundary = xr.DataArray([model.boundary(at) for at in x], {f"{name}_across": x}, [f"{name}_across"])
        ends = 0.0, float(predicted.max())
        found = ds[f"{name}_found"].median("seed", keep_attrs=True)
        phase_diagram(
            found, boundary, scale=ends, bar=False, title=f"{letter}  {model.title}\nfound by descent", ax=row[0]
        )
        phase_diagram(predicted, boundary, scale=ends, title="closed form, dashed: its boundary", ax=row[1])
        row[1].set_ylabel("")
    return drawn


def _names(ds: xr.Dataset) -> list[str]:
    return [name for name in MODELS if f"{name}_found" in ds]
