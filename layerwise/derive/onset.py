"""The epoch at which a layer collapses."""

from __future__ import annotations

import numpy as np
import xarray as xr

from layerwise.arguments import checked, number
from layerwise.derive._values import values_over
from layerwise.errors import InvalidData
from layerwise.schema import ARGUMENTS

__all__ = ["onset"]


@checked(ARGUMENTS, level=number("a level is a number"))
def onset(ds: xr.Dataset, metric: str, level: float) -> xr.DataArray:
    """Find the first epoch at which each layer reaches a level, in the metric's direction of collapse.

    For a variable without layers, such as `network_error`, it is the first epoch at which the network reaches it.

    Parameters
    ----------
    ds : Dataset
        A profile.
    metric : str
        A variable with epochs.
    level : float
        Reached where the metric is at the level, or beyond it.

    Returns
    -------
    DataArray
        Labels of epochs, without the dim ``epoch``; NaN where the level is never reached. Later epochs play no part.

    Raises
    ------
    UnknownName
        If there is no such metric.
    SchemaMismatch
        If it does not depend on the epoch.
    InvalidData
        If the metric has no direction of collapse.
    """
    values = values_over(ds, metric, "epoch")
    direction = values.attrs.get("direction")
    if direction not in ("down", "up"):
        raise InvalidData(f"{metric!r} has no direction of collapse, so that no level of it can be reached")
    reached = values <= level if direction == "down" else values >= level
    epochs = values["epoch"].values[reached.argmax("epoch").values]
    exists = reached.any("epoch")
    attributes = {
        "long_name": f"first epoch with {metric} at or {'below' if direction == 'down' else 'above'} {level:g}",
        "units": "epoch",
        "direction": "none",
        "reference": str(values.attrs.get("reference", "")),
    }
    return exists.copy(data=np.where(exists, epochs, np.nan)).rename(f"{metric}_onset").assign_attrs(attributes)
