"""Profiles with values by hand, for the tests of what is derived from profiles."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from helpers.profiles import made_up

from layerwise.schema import JACKKNIFE

nan = np.nan


def over_layers(name: str, rows: list[float] | list[list[float]], names: list[str] | None = None) -> xr.Dataset:
    """A profile of one split and target with a metric's values by layer, or by epoch and layer."""
    values = np.atleast_2d(rows)
    epochs, layers = values.shape
    ds = made_up(epochs=epochs, layers=layers, splits=("train",))
    attributes = {"long_name": name, "units": "1", "direction": "down", "reference": ""}
    ds = ds.assign({name: (("epoch", "split", "target", "layer"), values[:, None, None], attributes)})
    return ds if names is None else ds.assign_coords(layer=names)


def in_groups(ds: xr.Dataset, error: float = 0.1, bias: float = 0.0) -> xr.Dataset:
    """With a standard error and a bias of `nc1`, from ten groups of samples."""
    attributes = {**ds["nc1"].attrs, "reference": JACKKNIFE}
    errors = {f"nc1_{name}": xr.full_like(ds["nc1"], value) for name, value in (("se", error), ("bias", bias))}
    return ds.assign({name: values.assign_attrs(attributes) for name, values in errors.items()}).assign_attrs(
        jackknife=10
    )


def with_attributes(**attributes: object) -> xr.Dataset:
    """A profile with more attributes; mappings as JSON."""
    values = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in attributes.items()}
    return made_up(layers=3).assign_attrs(values)
