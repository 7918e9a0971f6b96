"""Which pretrained network, cut at which layer, separates the caller's classes best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from torch import nn

from layerwise.arguments import NAME, checked, choice
from layerwise.derive import pooled_layers, refuse_data
from layerwise.errors import InvalidArgument, InvalidData, UnknownName, shown
from layerwise.metrics import get
from layerwise.profiling.profiler import profile
from layerwise.runtime.table_cells import depth_cell, number_cell
from layerwise.settings import ARGUMENTS, Settings, SettingsOptions, merge_settings

if TYPE_CHECKING:
    import pandas as pd
    import torch
    import xarray as xr

__all__ = ["RANKED", "Models", "Ranking", "rank"]

#: One network or several, perhaps with what each is called.
Models = nn.Module | str | Sequence[nn.Module | str] | Mapping[str, nn.Module | str]

#: What layers can be ranked by. The first two are errors on held-out samples, where there are any; the others are
#: closed forms on the split that a readout would be trained on.
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
        ``preprocessing``, the columns of `RANKED`, and standard errors if they were asked for.
    by : str
        The column that it is ranked by.
    held_out : str
        The split that errors are measured on.
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
        note = f"by {self.by}; errors are of the split {self.held_out!r}"
        if self.held_out == "train":
            note += ", that the readout was fitted on: hold samples out, with '&test=0.2' say, to compare wide layers"
        parts = [f"the best layer of each network ({note})", _text(self.best)]
        if len(self.profiles) < len(self.frame):
            parts += [f"the best {min(layers, len(self.frame))} layers of all", _text(self.frame.head(layers))]
        return "\n\n".join(parts)


@checked(ARGUMENTS, by=choice("ranking", RANKED))
def rank(
    models: Models,
    data: Any,
    *,
    by: str = "probe_error",
    target: str | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 64,
    settings: Settings | None = None,
    **options: Unpack[SettingsOptions],
) -> Ranking:
    """Profile several networks on the same labels, and rank all their layers.

    A ridge classifier, class means, the H-score and LogME estimate in closed form how well a linear readout of a layer
    separates the labels: no probe is trained.

    Parameters
    ----------
    models : Module or str, sequence of them, or mapping of str to them
        One network or several; a mapping says what the ranking calls each. A name is called as it is, a Module after
        its class.
    data, device, batch_size, settings, **options
        As for `layerwise.profile`, for all networks; data by name is prepared for each in its own way. Errors are
        measured on the split ``test``, where there is one.
    by : {"probe_error", "ncc_error", "h_score", "logme"}
        What layers are ranked by.
    target : str, optional
        The labels to rank for, where there are several; the first by default.

    Returns
    -------
    Ranking
        Its ``profiles`` can be plotted: ``depth_heatmap(ranking.profiles, "probe_error")``.

    Raises
    ------
    UnknownName
        If layers cannot be ranked by that, or there is no such target.
    InvalidArgument
        If there is no network, or two have one name.
    InvalidData
        If the target has no classes, or the networks were given different samples, splits or targets, as by a loader
        that draws new ones each time.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> x, y = torch.randn(30, 8), torch.arange(30) % 3
    >>> ranking = rank(net, [(x, y)])
    >>> ranking.best[["model", "layer"]].shape
    (1, 2)
    """
    named = _named(models)
    asked = merge_settings(settings, options, ("by", "target", "device", "batch_size", "settings"))
    more = [asked.metrics] if isinstance(asked.metrics, str) else list(asked.metrics or ())
    asked = replace(asked, metrics=[*RANKED, *more])
    profiles: dict[str, xr.Dataset] = {}
    for name, model in named.items():
        profiles[name] = profile(model, data, device=device, batch_size=batch_size, settings=asked)
        first_name = next(iter(profiles))
        refuse_data(profiles[first_name], profiles[name], (first_name, name))
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
    # Among equally good layers, the earlier one is cheaper.
    ordered = frame.sort_values(
        [by, "depth"], ascending=[get(by).variable.direction == "down", True], na_position="last"
    )
    return Ranking(profiles, ordered.reset_index(drop=True), by, held_out)


def _named(models: Models) -> dict[str, nn.Module | str]:
    """Return the networks by name.

    Raises
    ------
    InvalidArgument
        If there is none, or two have one name.
    """
    if isinstance(models, Mapping):
        named = dict(models)
    else:
        listed: list[Any] = list(models) if isinstance(models, (list, tuple)) else [models]
        if not all(isinstance(model, (str, nn.Module)) for model in listed):
            raise InvalidArgument(
                f"models={shown(models)}: networks are modules or names of models, one or a list of them, or a mapping "
                "of what they are called to either"
            )
        named = {model if isinstance(model, str) else type(model).__name__: model for model in listed}
        if len(named) < len(listed):
            raise InvalidArgument(
                "two networks have one name: give each once, or a mapping of what they are called to modules"
            )
    if not named:
        raise InvalidArgument("models= is empty: give at least one network")
    for name in named:
        NAME.read("models", name)
    return named


def _frame(profiles: Mapping[str, xr.Dataset], held_out: str, target: str) -> pd.DataFrame:
    import pandas as pd

    parts = []
    for name, ds in profiles.items():
        last = ds.isel(epoch=-1).sel(target=target)
        columns: dict[str, Any] = {"model": name, "layer": last["layer"].values}
        columns |= {key: last[key].values for key in ("depth", "features")}
        pooled = pooled_layers(last)
        columns["pooling"] = [pooled.get(str(layer), "") for layer in last["layer"].values]
        if "preprocessing" in ds.attrs:
            columns["preprocessing"] = ds.attrs["preprocessing"]
        fitted = "train" if "train" in last["split"].values else held_out
        for metric in RANKED:
            for column in (metric, f"{metric}_se"):
                if column in last:
                    columns[column] = last[column].sel(split=held_out if metric in _HELD_OUT else fitted).values
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _text(frame: pd.DataFrame) -> str:
    formatters = {"depth": depth_cell}
    numbers = [str(name) for name in frame if frame[name].dtype.kind == "f"]
    formatters |= {name: number_cell for name in numbers if name != "depth"}
    text: str = frame.to_string(index=False, formatters=formatters)
    return text
