"""The kinds of arguments that plots share."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes

from layerwise import schema
from layerwise.arguments import Kind, either, instance, mapping, names, optional

__all__ = ["ARGUMENTS", "PROFILES", "VARIABLES"]

_PROFILE = instance("", xr.Dataset)

#: Kinds by the name of an argument.
ARGUMENTS: dict[str, Kind] = {
    **schema.ARGUMENTS,
    "ax": optional(instance("ax is one of matplotlib's Axes", Axes)),
}

#: One profile, or several by name.
PROFILES = either("a profile is an xarray Dataset; several come as a mapping by name", _PROFILE, mapping("", _PROFILE))

#: One variable, or several.
VARIABLES = names("variables are a name, or a list of names", least=1)
