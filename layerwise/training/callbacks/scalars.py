"""A profile of one epoch as flat numbers, for TensorBoard, W&B and similar loggers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import numpy as np
import xarray as xr

from layerwise.derive import effective_depth
from layerwise.errors import InvalidData, UnknownName

__all__ = ["scalars"]

#: Logged by default, if measured.
_USUAL = ("nc1", "ncc_error", "network_error", "nrc1", "nrc2_cka", "network_mse", "effective_depth")


def scalars(
    profile: xr.Dataset,
    metrics: Sequence[str] | None = None,
    layers: str | Sequence[str] = "last",
    prefix: str = "layerwise",
) -> dict[str, float]:
    """Flatten a profile of one epoch, as in ``{"layerwise/train/nc1/encoder.layer.5": 0.31}``.

    Parameters
    ----------
    profile : Dataset
        A profile with one epoch.
    metrics : sequence of str, optional
        Variables of the profile, and ``effective_depth``. By default, those of ``nc1``, ``ncc_error``,
        ``network_error``, ``nrc1``, ``nrc2_cka``, ``network_mse`` and ``effective_depth`` that were measured.
    layers : str or sequence of str
        ``"last"`` for the last layer before the logits; names or globs, such as ``"*"`` for all.
    prefix : str
        The beginning of every key.

    Returns
    -------
    dict of str to float
        Keys consist of prefix, split, target (if there are several), metric and layer, without the parts that a metric
        does not have. Values that are not finite are left out.

    Raises
    ------
    InvalidData
        If the profile has several epochs, or a metric is per class.
    UnknownName
        If a metric or a layer is not in the profile.
    """
    if profile.sizes["epoch"] != 1:
        raise InvalidData(f"the profile has {profile.sizes['epoch']} epochs; choose one, as in ds.isel(epoch=[-1])")
    names = _layer_names(profile, layers)
    numbers: dict[str, float] = {}
    for array in _metric_arrays(profile, metrics):
        array = array.sel(layer=names) if "layer" in array.dims else array
        numbers.update(_flatten(array, prefix))
    return numbers


def _metric_arrays(profile: xr.Dataset, metrics: Sequence[str] | None) -> Iterator[xr.DataArray]:
    measured = [str(name) for name in profile.data_vars]
    if "ncc_error" in measured:
        measured.append("effective_depth")
    wanted = [name for name in _USUAL if name in measured] if metrics is None else metrics
    for name in wanted:
        if name not in measured:
            raise UnknownName("metric", name, measured, hint="It was not measured in this profile")
        array = effective_depth(profile) if name not in profile else profile[name]
        if "class" in array.dims:
            raise InvalidData(f"{name!r} has a number for every class, which are too many to be logged")
        yield array.squeeze("epoch", drop=True) if "epoch" in array.dims else array


def _layer_names(profile: xr.Dataset, layers: str | Sequence[str]) -> list[str]:
    names = [str(name) for name in profile["layer"].values]
    if layers == "last":
        roles = profile["role"].values if "role" in profile else [""] * len(names)
        inner = [name for name, role in zip(names, roles, strict=True) if role != "logits"]
        return (inner or names)[-1:]
    patterns = [layers] if isinstance(layers, str) else layers
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UnknownName("layer", pattern, names)
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _flatten(array: xr.DataArray, prefix: str) -> Iterator[tuple[str, float]]:
    labels = {str(dim): [str(label) for label in array[dim].values] for dim in array.dims}
    for index in np.ndindex(array.shape):
        at = {dim: labels[dim][place] for dim, place in zip(labels, index, strict=True)}
        if len(labels.get("target", ())) == 1:
            del at["target"]
        parts = [at.get("split"), at.get("target"), str(array.name), at.get("layer")]
        value = float(array.values[index])
        if math.isfinite(value):
            yield "/".join([prefix, *filter(None, parts)]), value
