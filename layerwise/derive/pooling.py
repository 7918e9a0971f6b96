"""The pooling of the layers of a profile, in words."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import xarray as xr

__all__ = ["pooled_layers", "pooling_text", "poolings"]

# More runs of equally pooled layers than this are counted, not listed.
_STRETCHES = 4


def pooled_layers(ds: xr.Dataset | xr.DataArray, prefix: str = "") -> dict[str, str]:
    """Return the reduction of every layer with positions to reduce; a layer of vectors is not pooled.

    Parameters
    ----------
    ds : Dataset or DataArray
        A profile, or a variable of one.
    prefix : str
        In front of the names of dim and coordinates: ``"other_"`` for the second network of a similarity.
    """
    reduction, dim = f"{prefix}reduction", f"{prefix}layer"
    if reduction not in ds.coords or ds[reduction].dims != (dim,) or dim not in ds.coords:
        return {}
    names = [str(name) for name in ds[dim].values]
    words = [str(word) for word in ds[reduction].values]
    key = f"{prefix}shape"
    shapes = [str(shape) for shape in ds[key].values] if key in ds.coords else ["x"] * len(names)
    # A vector is flattened, whatever reduction was asked for.
    vectors = ["x" not in shape and word in ("flatten", "") for shape, word in zip(shapes, words, strict=True)]
    return {name: word for name, word, is_vector in zip(names, words, vectors, strict=True) if word and not is_vector}


def poolings(ds: xr.Dataset | xr.DataArray) -> list[str]:
    """Return the poolings of the layers, the commonest first."""
    return [word for word, _ in Counter(pooled_layers(ds).values()).most_common()]


def pooling_text(ds: xr.Dataset | xr.DataArray, prefix: str = "", names: Sequence[str] | None = None) -> str:
    """Describe the pooling: one word where all layers agree, else a word for each run of layers; empty without any.

    Parameters
    ----------
    ds, prefix
        As for `pooled_layers`.
    names : sequence of str, optional
        The names of the layers in the text; their own names by default.

    Examples
    --------
    >>> import numpy as np
    >>> layers = {"layer": ["stem", "blocks.0", "blocks.1"], "reduction": ("layer", ["mean", "cls", "cls"])}
    >>> pooling_text(xr.DataArray(np.zeros(3), layers, ["layer"]))
    'mean (stem), cls (blocks.0 to blocks.1)'
    """
    pooled = pooled_layers(ds, prefix)
    words = list(dict.fromkeys(pooled.values()))
    if len(words) < 2:
        return "".join(words)
    shown = dict(zip(map(str, ds[f"{prefix}layer"].values), names, strict=True)) if names is not None else {}
    stretches = [(word, [name for name, _ in run]) for word, run in itertools.groupby(pooled.items(), lambda p: p[1])]
    if len(stretches) > _STRETCHES:
        counts = Counter(pooled.values())
        return ", ".join(f"{word} ({count} layers)" for word, count in counts.items())
    ends = [(word, list(dict.fromkeys(shown.get(run[end], run[end]) for end in (0, -1)))) for word, run in stretches]
    return ", ".join(f"{word} ({' to '.join(names)})" for word, names in ends)
