"""The tunnel: the layers behind the one that already separates the classes as well as the last."""

from __future__ import annotations

import numpy as np
import xarray as xr

from layerwise.arguments import checked, number
from layerwise.derive._values import values_over
from layerwise.errors import InvalidArgument, UnknownName
from layerwise.schema import ARGUMENTS

__all__ = ["tunnel"]


@checked(ARGUMENTS, share=number("share is a share of the last layer's accuracy: a number"))
def tunnel(ds: xr.Dataset, share: float = 0.95, metric: str = "probe_error", split: str = "train") -> xr.DataArray:
    """Find where the tunnel starts: the first layer with at least `share` of the last layer's accuracy.

    The layers up to it are the extractor; the layers behind it are the tunnel, which adds little to the accuracy.
    Accuracy is 1 less the error. Layers without a value are skipped.

    Parameters
    ----------
    ds : Dataset
        A profile.
    share : float
        In (0, 1].
    metric : str
        An error between 0 and 1, such as `probe_error` or `ncc_error`.
    split : str
        The split whose errors are compared; a Dataset without the dim ``split`` is taken as it is.

    Returns
    -------
    DataArray
        Positions in execution order, from 0, without the dims ``layer`` and ``split``; NaN where no layer has a value.
        The coordinate ``tunnel_layer`` has the layer's name, empty where there is none.

    Raises
    ------
    UnknownName
        If there is no such metric or split.
    SchemaMismatch
        If it does not depend on the layer.
    InvalidArgument
        If the share is not in (0, 1].

    References
    ----------
    Masarczyk et al. 2023, The tunnel effect: building data representations in deep neural networks (arXiv:2305.19753).

    Examples
    --------
    >>> import xarray as xr
    >>> ds = xr.Dataset({"probe_error": ("layer", [0.5, 0.04, 0.02, 0.01])}, {"layer": ["a", "b", "c", "d"]})
    >>> start = tunnel(ds)
    >>> float(start), str(start["tunnel_layer"].values)
    (1.0, 'b')
    """
    if not 0 < share <= 1:
        raise InvalidArgument(f"share={share}: a share of the last layer's accuracy is above 0 and at most 1")
    errors = values_over(ds, metric, "layer")
    if "split" in errors.dims:
        splits = list(map(str, errors["split"].values))
        if split not in splits:
            raise UnknownName("split", split, splits)
        errors = errors.sel(split=split, drop=True)
    accuracy = 1 - errors
    from_last = accuracy.notnull().isel(layer=slice(None, None, -1)).argmax("layer")
    reaches = accuracy >= share * accuracy.isel(layer=accuracy.sizes["layer"] - 1 - from_last).drop_vars("layer")
    exists, place = reaches.any("layer"), reaches.argmax("layer")
    names = np.where(exists, accuracy["layer"].values.astype(str)[place.values], "")
    position = place.where(exists).rename("tunnel").assign_coords(tunnel_layer=(place.dims, names))
    position.attrs = {
        "long_name": f"first layer with {share:g} of the last layer's accuracy ({metric})",
        "units": "layers",
        "reference": "Masarczyk 2023",
    }
    return position
