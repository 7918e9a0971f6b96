"""The variables of the network itself, and the numbers of all splits laid out as a profile."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise import schema
from layerwise.features.reading import LayerReading
from layerwise.features.sketch import Sketch
from layerwise.network.layer import depths

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "CLASS_NETWORK_ERROR",
    "NETWORK_ERROR",
    "NETWORK_MIOU",
    "NETWORK_MSE",
    "OF_NETWORK",
    "Numbers",
    "assemble_profile",
]

#: Numbers of one split: by variable, then by target and layer (the dims that a variable lacks left empty).
Numbers = Mapping[str, Mapping[tuple[str, str], np.ndarray]]

#: The network's own error, which has no dim `layer`.
NETWORK_ERROR = schema.Variable(
    "network_error", ("epoch", "split", "target"), "error of the network itself", "1", "down", ""
)

#: The same of each class, where tokens or pixels are samples.
CLASS_NETWORK_ERROR = schema.Variable(
    *("class_network_error", ("epoch", "split", "target", "class"), "error of the network itself on each class"),
    *("1", "down", ""),
)

#: Mean over classes of the intersection of label and prediction over their union, where tokens or pixels are samples.
NETWORK_MIOU = schema.Variable(
    *("network_miou", ("epoch", "split", "target"), "mean intersection over union of the network itself"),
    *("1", "up", ""),
)

#: The same of regression targets, over samples and target dimensions.
NETWORK_MSE = schema.Variable(
    *("network_mse", ("epoch", "split", "target"), "mean squared error of the network itself", "target^2", "down", "")
)

#: The variables of the network itself.
OF_NETWORK = (NETWORK_ERROR, CLASS_NETWORK_ERROR, NETWORK_MIOU, NETWORK_MSE)


def assemble_profile(
    numbers: Mapping[str, Numbers],
    variables: Sequence[schema.Variable],
    readings: Sequence[LayerReading],
    covariances: Sequence[Sketch | None],
    class_names: Mapping[str, Sequence[str]],
    class_places: Mapping[str, np.ndarray],
    *,
    next_maps: Sequence[str],
    epoch: float,
    step: int,
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    """Lay out the numbers of every split as a Dataset.

    Parameters
    ----------
    numbers : mapping of split to Numbers
    variables : sequence of Variable
        The variables to lay out, in order.
    readings : sequence of LayerReading
        The layers, in execution order.
    covariances : sequence of Sketch or None
        The projection that each layer's covariance was taken of.
    class_names : mapping of target to sequence of str
        The class names of every target; none for a regression target.
    class_places : mapping of target to ndarray of int
        The place of each of a target's classes among those names, shape ``(C,)``.
    next_maps : sequence of str
        Names of the linear maps that read each layer, empty where there is none.
    epoch : int or float
    step : int
    attributes : mapping
        Entries that are neither text nor number are written as JSON.
    """
    sizes: dict[str, list[Any]] = {
        "epoch": [epoch],
        "split": list(numbers),
        "target": list(class_names),
        "layer": [reading.name for reading in readings],
        "class": list(range(max(map(len, class_names.values()), default=0))),
    }
    values = {item.name: _array(item, numbers, sizes, class_places) for item in variables}
    coordinates: dict[str, tuple[Any, Any]] = {dim: (dim, sizes[dim]) for dim in schema.DIMS if dim != "class"}
    coordinates["step"] = ("epoch", [step])
    coordinates["next_map"] = ("layer", list(next_maps))
    coordinates |= {name: ("layer", of_layers) for name, of_layers in _layer_coordinates(readings, covariances).items()}
    if any("class" in item.dims for item in variables):
        coordinates["class"] = ("class", sizes["class"])
        padded = [[*names, *[""] * (len(sizes["class"]) - len(names))] for names in class_names.values()]
        coordinates["class_name"] = (("target", "class"), padded)
    return schema.assemble(values, variables, coordinates, {name: plain(value) for name, value in attributes.items()})


def _array(
    variable: schema.Variable,
    numbers: Mapping[str, Numbers],
    sizes: Mapping[str, list[Any]],
    class_places: Mapping[str, np.ndarray],
) -> np.ndarray:
    """The numbers of one variable in the order of its dims, NaN where a split has none."""
    array = np.full([len(sizes[dim]) for dim in variable.dims], np.nan)
    for place, of_split in enumerate(numbers.values()):
        for (target, layer), number in of_split.get(variable.name, {}).items():
            where = {"epoch": 0, "split": place}
            if target:
                where["target"] = sizes["target"].index(target)
            if layer:
                where["layer"] = sizes["layer"].index(layer)
            index = tuple(where[dim] for dim in variable.dims if dim != "class")
            if "class" in variable.dims:
                array[index][class_places[target][: len(number)]] = number
            else:
                array[index] = number
    return array


def _layer_coordinates(readings: Sequence[LayerReading], covariances: Sequence[Sketch | None]) -> dict[str, list[Any]]:
    """The coordinates of every layer, including widths and errors of random projections."""
    layers = [reading.layer for reading in readings]
    pairs = list(zip(readings, covariances, strict=True))
    return {
        "depth": depths(layers),
        "kind": [layer.kind for layer in layers],
        "role": [layer.role for layer in layers],
        "features": [reading.features for reading in readings],
        "shape": ["x".join(map(str, layer.shape)) for layer in layers],
        "reduction": [reading.stated for reading in readings],
        "reduction_error": [reading.projection.error if reading.projection else 0.0 for reading in readings],
        "covariance_features": [sketch.width if sketch else reading.features for reading, sketch in pairs],
        "covariance_error": [sketch.error if sketch else 0.0 for sketch in covariances],
        "parameters": [layer.parameters for layer in layers],
    }


def plain(value: Any) -> str | int | float:
    """Return a value as an attribute of a Dataset: text and numbers as they are, anything else as JSON."""
    return value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else json.dumps(value)
