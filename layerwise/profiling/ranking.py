"""Which pretrained network, cut at which layer, separates the caller's classes best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise.arguments import NAME, checked, choice
from layerwise.derive import pooled_layers, refuse_data
from layerwise.errors import InvalidArgument, InvalidData, UnknownName, shown
from layerwise.metrics import get
from layerwise.profiling.profiler import profile
from layerwise.runtime.table_cells import depth_cell, number_cell
from layerwise.settings import ARGUMENTS, Settings, chosen

if TYPE_CHECKING:
    import pandas as pd
    import torch
    import xarray as xr
    from torch import nn

__all__ = ["RANKED", "Ranking", "rank"]

#: What layers can be ranked by. The first two are errors on samples that were held out, where there are any; the others
#: are closed forms of the split that a readout would be trained on.
RANKED = ("probe_error", "ncc_error", "h_score", "logme")
_HELD_OUT = ("probe_error", "ncc_error")


@dataclass(frozen=True)
class Ranking:
    """Layers of several networks, the best first.

    Attributes
    ----------
    profiles : dict of str to Dataset
        The profile of each network.
    frame : DataFrame
        A row for each network and layer: ``model``, ``layer``, ``depth``, ``features``, ``pooling``, for data by name
        ``preprocessing``, what layers can be ranked by, and standard errors as far as they were asked for.
    by : str
        What it is ranked by.
    held_out : str
        The split that errors are of.
    """

    profiles: Mapping[str, xr.Dataset]
    frame: pd.DataFrame
    by: str
    held_out: str

    @property
    def best(self) -> pd.DataFrame:
        """The best layer of each network, the best network first."""
        return self.frame.drop_duplicates("model").reset_index(drop=True)

    def text(self, layers: int = 10) -> str:
        """The best layer of each network, and the best layers of all, for a terminal."""
        said = f"by {self.by}; errors are of the split {self.held_out!r}"
        if self.held_out == "train":
            said += ", that the readout was fitted on: hold samples out, with '&test=0.2' say, to compare wide layers"
        parts = [f"the best layer of each network ({said})", _text(self.best)]
        if len(self.profiles) < len(self.frame):
            parts += [f"the best {min(layers, len(self.frame))} layers of all", _text(self.frame.head(layers))]
        return "\n\n".join(parts)


@checked(ARGUMENTS, by=choice("ranking", RANKED))
def rank(
    models: Mapping[str, nn.Module | str] | Sequence[str],
    data: Any,
    *,
    by: str = "probe_error",
    target: str | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 64,
    settings: Settings | None = None,
    **options: Any,
) -> Ranking:
    """Profile several networks on the same labels, and rank all their layers.

    A ridge classifier, class means, the H-score and LogME say in closed form how well a linear readout of a layer would
    know the labels: no probe is trained.

    Parameters
    ----------
    models : mapping of str to Module or str, or sequence of str
        Networks by the names that the ranking calls them, or names of models.
    data, device, batch_size
        As for `layerwise.profile`; data by name is prepared for each network in its own way. A split ``test`` is what
        errors are measured on.
    by : {"probe_error", "ncc_error", "h_score", "logme"}
        What the best layer is the best in.
    target : str, optional
        The labels that are ranked for, where there are several; the first by default.
    settings : Settings, optional
    **options
        Fields of `Settings`, such as ``layers``, ``reduce`` or ``jackknife``, for all networks.

    Returns
    -------
    Ranking
        Its ``profiles`` can be drawn: ``depth_heatmap(ranking.profiles, "probe_error")``.

    Raises
    ------
    UnknownName
        If layers cannot be ranked by that, or there is no such target.
    InvalidData
        If there is no network, two have one name, or the target has no classes; if the networks were given other
        samples, splits or targets, as by a loader that draws anew each time.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> x, y = torch.randn(30, 8), torch.arange(30) % 3
    >>> ranking = rank({"small": net}, [(x, y)])
    >>> ranking.best[["model", "layer"]].shape
    (1, 2)
    """
    named = _named(models)
    asked = chosen(settings, options, ("by", "target", "device", "batch_size", "settings"))
    beside = [asked.metrics] if isinstance(asked.metrics, str) else list(asked.metrics or ())
    asked = replace(asked, metrics=[*RANKED, *beside])
    profiles: dict[str, xr.Dataset] = {}
    for name, model in named.items():
        profiles[name] = profile(model, data, device=device, batch_size=batch_size, settings=asked)
        one = next(iter(profiles))
        refuse_data(profiles[one], profiles[name], (one, name))
    first = next(iter(profiles.values()))
    held_out = next((name for name in ("test", "validation") if name in first["split"].values), None)
    held_out = held_out or next((str(name) for name in first["split"].values if name != "train"), "train")
    if target is not None and target not in first["target"].values:
        raise UnknownName("target", target, map(str, first["target"].values))
    frame = _frame(profiles, held_out, target or str(first["target"].values[0]))
    if not np.isfinite(frame[by].to_numpy(dtype=float)).any():
        raise InvalidData(
            f"no layer has a finite {by!r}: layers are ranked for labels of two classes or more, and fits need more "
            "samples than features"
        )
    # Of layers that are equally good the earlier one is cheaper.
    ordered = frame.sort_values(
        [by, "depth"], ascending=[get(by).variable.direction == "down", True], na_position="last"
    )
    return Ranking(profiles, ordered.reset_index(drop=True), by, held_out)


def _named(models: Mapping[str, nn.Module | str] | Sequence[str]) -> dict[str, nn.Module | str]:
    """The networks by name.

    Raises
    ------
    InvalidData
        If there is none, or they are not named, each once.
    """
    if isinstance(models, Mapping):
        named = dict(models)
    elif isinstance(models, (list, tuple)) and all(isinstance(model, str) for model in models):
        named = dict(zip(models, models, strict=True))
    else:
        raise InvalidArgument(
            f"models={shown(models)}: networks are a list of names, or a mapping of what they are called to modules"
        )
    if not named or len(named) < len(models):
        raise InvalidData("name at least one network, and each once")
    for name in named:
        NAME.read("models", name)
    return named


def _frame(profiles: Mapping[str, xr.Dataset], held_out: str, target: str) -> pd.DataFrame:
    import pandas as pd

    parts = []
    for name, ds in profiles.items():
        own = ds.isel(epoch=-1).sel(target=target)
        columns: dict[str, Any] = {"model": name, "layer": own["layer"].values}
        columns |= {key: own[key].values for key in ("depth", "features")}
        pooled = pooled_layers(own)
        columns["pooling"] = [pooled.get(str(layer), "") for layer in own["layer"].values]
        if "preprocessing" in ds.attrs:
            columns["preprocessing"] = ds.attrs["preprocessing"]
        fitted = "train" if "train" in own["split"].values else held_out
        for metric in RANKED:
            for column in (metric, f"{metric}_se"):
                if column in own:
                    columns[column] = own[column].sel(split=held_out if metric in _HELD_OUT else fitted).values
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _text(frame: pd.DataFrame) -> str:
    formatters = {"depth": depth_cell}
    numbers = [str(name) for name in frame if frame[name].dtype.kind == "f"]
    formatters |= {name: number_cell for name in numbers if name != "depth"}
    text: str = frame.to_string(index=False, formatters=formatters)
    return text
