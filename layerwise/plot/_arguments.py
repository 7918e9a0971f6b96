"""What the arguments of plots can be."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes

from layerwise import schema
from layerwise.arguments import Kind, either, instance, mapping, names, optional

__all__ = ["ARGUMENTS", "METRICS", "PROFILES"]

_PROFILE = instance("", xr.Dataset)

#: What most of them can be.
ARGUMENTS: dict[str, Kind] = {
    **schema.ARGUMENTS,
    "ax": optional(instance("ax is one of matplotlib's Axes", Axes)),
}

#: One profile, or several by name.
PROFILES = either("a profile is an xarray Dataset; several come as a mapping by name", _PROFILE, mapping("", _PROFILE))

#: One metric, or several.
METRICS = names("metrics are a name, or a list of names", least=1)
