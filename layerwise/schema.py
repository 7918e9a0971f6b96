"""The form of a profile as an xarray Dataset: its dims, coordinates and the attributes of every variable."""

from __future__ import annotations

from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from layerwise.arguments import NAME, Kind, instance, one_name, optional, whole
from layerwise.errors import SchemaMismatch

__all__ = [
    "ARGUMENTS",
    "CHANCE",
    "COMPANIONS",
    "DIMS",
    "JACKKNIFE",
    "LAYER_COORDINATES",
    "PROJECTION_ERROR",
    "VERSION",
    "Direction",
    "Variable",
    "assemble",
    "is_chance",
    "is_companion",
    "is_standard_error",
    "validate",
]

#: Version of the layout below; written into every profile as the attribute ``layerwise_schema``.
VERSION = 1

#: The dims of a profile, always in this order. Studies put ``seed`` in front.
DIMS = ("epoch", "split", "target", "layer", "class")

#: Coordinates on ``layer`` that every profile has.
LAYER_COORDINATES = ("depth", "kind", "features", "shape", "reduction", "parameters")

#: Suffixes of a metric's values under shuffled labels: the mean, and the edges of a band.
CHANCE = ("_null", "_null_low", "_null_high")

#: The same of what a random projection changes.
PROJECTION_ERROR = "_projection_error"

#: What stands behind a metric's name in the names of what goes with it: standard error, bias, and so on.
COMPANIONS = ("_se", "_bias", *CHANCE, PROJECTION_ERROR)

#: The ``reference`` of standard errors and biases from groups of samples.
JACKKNIFE = "delete-a-group jackknife (Kott 2001)"

#: Kinds of the arguments of functions that take profiles.
ARGUMENTS: dict[str, Kind] = {
    **dict.fromkeys(("ds", "dataset", "a", "b"), instance("a profile is an xarray Dataset", xr.Dataset)),
    "metric": one_name("it is the name of one metric"),
    "variable": one_name("it is the name of one variable"),
    "error": one_name("it is the name of one variable"),
    "split": optional(NAME),
    "target": optional(NAME),
    "layer": optional(NAME),
    "epoch": whole("an epoch is called by its label, or counted from the last as -1, -2, ...", -(2**53)),
}

#: Which way a metric moves as the representation collapses.
Direction = Literal["down", "up", "none"]


@dataclass(frozen=True)
class Variable:
    """The name, dims and attributes of a variable of a profile.

    Attributes
    ----------
    name : str
        Its name in the Dataset.
    dims : tuple of str
        The dims that it depends on, a subsequence of `DIMS`.
    long_name, units, reference : str
        The label of an axis, the units (``"1"`` for pure numbers), and the paper that defines the variable.
    direction : {"down", "up", "none"}
        Which way the variable moves as the representation collapses.
    """

    name: str
    dims: tuple[str, ...]
    long_name: str
    units: str
    direction: Direction
    reference: str

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes of the variable in the Dataset."""
        return {
            "long_name": self.long_name,
            "units": self.units,
            "direction": self.direction,
            "reference": self.reference,
        }


def is_companion(name: str, names: Container[Hashable]) -> bool:
    """Whether a variable is the standard error, the bias or the chance value of another among `names`.

    Examples
    --------
    >>> is_companion("nc1_se", ["nc1", "nc1_se"]), is_companion("nc1_se", ["nc1_se"])
    (True, False)
    """
    return _goes_with(name, COMPANIONS, names)


def is_standard_error(name: str, names: Container[Hashable]) -> bool:
    """Whether a variable is the standard error of another among `names`."""
    return _goes_with(name, ("_se",), names)


def is_chance(name: str, names: Container[Hashable]) -> bool:
    """Whether a variable is the value of another among `names` under shuffled labels."""
    return _goes_with(name, CHANCE, names)


def _goes_with(name: str, suffixes: Sequence[str], names: Container[Hashable]) -> bool:
    return any(name.endswith(suffix) and name.removesuffix(suffix) in names for suffix in suffixes)


def assemble(
    values: Mapping[str, np.ndarray],
    variables: Sequence[Variable],
    coordinates: Mapping[str, tuple[Sequence[str] | str, Any]],
    attributes: Mapping[Hashable, str | int | float],
) -> xr.Dataset:
    """Make a profile of arrays, coordinates and attributes.

    Parameters
    ----------
    values : mapping of str to ndarray
        One array for every name in `variables`, in the order of that variable's dims.
    variables : sequence of Variable
        The description of each array.
    coordinates : mapping of str to (dims, values)
        All coordinates, those of the dims included.
    attributes : mapping
        Attributes of the Dataset: plain strings and numbers, which NetCDF and Zarr keep unchanged.

    Returns
    -------
    Dataset
        A valid profile.

    Raises
    ------
    SchemaMismatch
        If the result is not a profile.
    """
    dataset = xr.Dataset(
        {item.name: (item.dims, values[item.name], item.attributes) for item in variables},
        coords=dict(coordinates),
        attrs={"layerwise_schema": VERSION, **attributes},
    )
    validate(dataset)
    return dataset


def validate(dataset: xr.Dataset) -> None:
    """Check that a Dataset is a profile.

    Raises
    ------
    SchemaMismatch
        Naming everything that is missing or out of place.
    """
    problems = []
    version = dataset.attrs.get("layerwise_schema")
    if version is None:
        problems.append("the attribute 'layerwise_schema' is missing")
    elif version > VERSION:
        problems.append(f"its schema is version {version}, this layerwise reads up to {VERSION}: upgrade layerwise")
    for name in ("epoch", "split", "layer"):
        if name not in dataset.coords:
            problems.append(f"the coordinate {name!r} is missing")
    for name in LAYER_COORDINATES:
        if name not in dataset.coords or dataset[name].dims != ("layer",):
            problems.append(f"the coordinate {name!r} on 'layer' is missing")
    for key, variable in dataset.data_vars.items():
        dims = [dim for dim in variable.dims if dim in DIMS]
        if dims != [dim for dim in DIMS if dim in dims]:
            problems.append(f"the dims of {key!r} are {variable.dims}, out of the order {DIMS}")
        for attribute in ("long_name", "units", "direction", "reference"):
            if attribute not in variable.attrs:
                problems.append(f"{key!r} has no attribute {attribute!r}")
    if problems:
        raise SchemaMismatch("not a layerwise profile: " + "; ".join(problems))
