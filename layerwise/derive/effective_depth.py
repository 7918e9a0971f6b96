"""The first layer from which on the samples are separated."""

from __future__ import annotations

import numpy as np
import xarray as xr

from layerwise.arguments import checked, number
from layerwise.derive._values import values_over
from layerwise.schema import ARGUMENTS

__all__ = ["effective_depth"]


@checked(ARGUMENTS, eps=number("eps is a level: a number"))
def effective_depth(ds: xr.Dataset, eps: float = 0.02, metric: str = "ncc_error") -> xr.DataArray:
    """Find the first layer from which on a metric stays at or below `eps`.

    Layers without a value are skipped: they neither end nor begin the stretch.

    Parameters
    ----------
    ds : Dataset
        A profile.
    eps : float
        The level.
    metric : str
        The variable that is compared with the level.

    Returns
    -------
    DataArray
        Positions in execution order, from 0, without the dim ``layer``; NaN where the last layer is above `eps`. The
        coordinate ``effective_layer`` has the layer's name, empty where there is none.

    Raises
    ------
    UnknownName
        If there is no such metric.
    SchemaMismatch
        If it does not depend on the layer.

    References
    ----------
    Galanti, Galanti & Ben-Shaul 2022, On the implicit bias towards minimal depth of deep neural networks
    (arXiv:2202.09028).

    Examples
    --------
    >>> import xarray as xr
    >>> ds = xr.Dataset({"ncc_error": ("layer", [0.01, 0.4, 0.02, 0.0])}, {"layer": ["stem", "a", "b", "c"]})
    >>> depth = effective_depth(ds)
    >>> float(depth), str(depth["effective_layer"].values)
    (2.0, 'b')
    """
    values = values_over(ds, metric, "layer")
    backward = slice(None, None, -1)
    stays = ((values <= eps) | values.isnull()).isel(layer=backward).cumprod("layer").isel(layer=backward)
    begins = (stays == 1) & values.notnull()
    exists, place = begins.any("layer"), begins.argmax("layer")
    names = np.where(exists, values["layer"].values.astype(str)[place.values], "")
    position = place.where(exists).rename("effective_depth").assign_coords(effective_layer=(place.dims, names))
    position.attrs = {
        "long_name": f"first layer from which on {metric} stays at or below {eps:g}",
        "units": "layers",
        "direction": "down",
        "reference": "Galanti 2022",
    }
    return position
