"""What a profile looks like as an xarray Dataset: dims, coordinates, and what every variable must say of itself."""

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

#: What every layer says of itself.
LAYER_COORDINATES = ("depth", "kind", "features", "shape", "reduction", "parameters")

#: What stands behind a metric's name in the names of what it is under shuffled labels: the mean, and edges of a band.
CHANCE = ("_null", "_null_low", "_null_high")

#: The same of what a random projection changes.
PROJECTION_ERROR = "_projection_error"

#: What stands behind a metric's name in the names of what goes with it: standard error, bias, and so on.
COMPANIONS = ("_se", "_bias", *CHANCE, PROJECTION_ERROR)

#: The ``reference`` of standard errors and biases that are of groups of samples.
JACKKNIFE = "delete-a-group jackknife (Kott 2001)"

#: What the arguments of functions that take profiles can be.
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
    """What a variable of a profile says of itself.

    Attributes
    ----------
    name : str
        Its name in the Dataset.
    dims : tuple of str
        The dims that it depends on, a subsequence of `DIMS`.
    long_name, units, reference : str
        What a plot writes on its axis, and the paper that the definition is from. ``units`` is ``"1"`` for
        pure numbers.
    direction : {"down", "up", "none"}
        Which way is collapse.
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


def is_companion(name: str, there: Container[Hashable]) -> bool:
    """Whether a variable only goes with another that is there, as its standard error, its bias or what chance gives.

    Examples
    --------
    >>> is_companion("nc1_se", ["nc1", "nc1_se"]), is_companion("nc1_se", ["nc1_se"])
    (True, False)
    """
    return _goes_with(name, COMPANIONS, there)


def is_standard_error(name: str, there: Container[Hashable]) -> bool:
    """Whether a variable is the standard error of another that is there."""
    return _goes_with(name, ("_se",), there)


def is_chance(name: str, there: Container[Hashable]) -> bool:
    """Whether a variable says what chance gives of another that is there."""
    return _goes_with(name, CHANCE, there)


def _goes_with(name: str, suffixes: Sequence[str], there: Container[Hashable]) -> bool:
    return any(name.endswith(suffix) and name.removesuffix(suffix) in there for suffix in suffixes)


def assemble(
    values: Mapping[str, np.ndarray],
    variables: Sequence[Variable],
    coordinates: Mapping[str, tuple[Sequence[str] | str, Any]],
    attributes: Mapping[Hashable, str | int | float],
) -> xr.Dataset:
    """Put arrays, coordinates and attributes together into a profile.

    Parameters
    ----------
    values : mapping of str to ndarray
        One array for every name in `variables`, in the order of that variable's dims.
    variables : sequence of Variable
        What each array is.
    coordinates : mapping of str to (dims, values)
        All coordinates, the dims' own among them.
    attributes : mapping
        Attributes of the Dataset; plain strings and numbers, so that NetCDF and Zarr keep them unchanged.

    Returns
    -------
    Dataset
        A valid profile.

    Raises
    ------
    SchemaMismatch
        If what was given is not a profile.
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
        own = [dim for dim in variable.dims if dim in DIMS]
        if own != [dim for dim in DIMS if dim in own]:
            problems.append(f"the dims of {key!r} are {variable.dims}, out of the order {DIMS}")
        for attribute in ("long_name", "units", "direction", "reference"):
            if attribute not in variable.attrs:
                problems.append(f"{key!r} has no attribute {attribute!r}")
    if problems:
        raise SchemaMismatch("not a layerwise profile: " + "; ".join(problems))
