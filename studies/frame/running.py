"""Runs a study seed by seed, keeps each in the store, and goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from layerwise.passes.resume import resume_folder
from layerwise.runtime.distributed import broadcast, is_secondary_process
from layerwise.runtime.progress import logger
from layerwise.store import Store
from layerwise.studies.frame.settings import listed

__all__ = ["TIMES", "Seed", "over_seeds", "side_by_side"]

#: What a seed took, by the clock on the wall and by that of the processor.
TIMES = ("seconds", "processor_seconds")


@dataclass(frozen=True)
class Seed:
    """One seed of a study, and where it keeps what it has.

    Attributes
    ----------
    number : int
        The seed itself.
    store : Store
    folder : str
        Where its runs lie in the store, ``STUDY/SETTINGS/seed0``.
    """

    number: int
    store: Store
    folder: str

    def run(self, name: str) -> str:
        """The name of a run in the store, for a `Tracker`."""
        return f"{self.folder}/{name}"

    def checkpoint(self, name: str) -> Path | None:
        """Where a training keeps its last finished epoch; nowhere if the store is in memory."""
        place = self._place
        return None if place is None else place / f"{name.replace('/', '-')}.pt"

    def clear(self) -> None:
        """Remove the checkpoints, once the seed is done."""
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)

    @property
    def _place(self) -> Path | None:
        return None if self.store.place == "memory://" else resume_folder(self.store.place, self.folder)


def over_seeds(study: str, measure: Callable[[Any, Seed], xr.Dataset], settings: Any, store: Store) -> xr.Dataset:
    """Measure every seed that the store does not have yet, and put all of them side by side.

    Parameters
    ----------
    study : str
        The study's ``__name__``.
    measure : callable
        Takes the settings and a `Seed`, and gives a Dataset of any dims; it runs again if it was killed.
    settings : dataclass
        With a field ``seeds``, how many there are. Seeds that were measured with other settings are others.
    store : Store

    Returns
    -------
    Dataset
        With ``seed`` as the first dim of every variable that `measure` gave, and what each seed took: ``seconds`` of a
        clock on the wall and ``processor_seconds``, which others on the same machine make no longer. Beside it the
        ``threads`` of torch: with another number of them sums are rounded otherwise, and a training takes another way.
    """
    name = study.rpartition(".")[2]
    folder = f"{name}/{_digest(settings)}"
    found = []
    for number in range(settings.seeds):
        seed = Seed(number, store, f"{folder}/seed{number}")
        kept = seed.run("result")
        # Processes that train together go the same way, whatever one of them sees in the store meanwhile.
        if not broadcast(store.has_result(kept)):
            logger.info(f"{name}: seed {number + 1} of {settings.seeds}")
            started = time.monotonic(), time.process_time()
            measured = measure(settings, seed)
            ended = time.monotonic(), time.process_time()
            took = [xr.DataArray(end - start, attrs={"units": "s"}) for start, end in zip(started, ended, strict=True)]
            measured = measured.assign({**dict(zip(TIMES, took, strict=True)), "threads": torch.get_num_threads()})
            if not is_secondary_process():
                store.keep_result(measured, kept)
                seed.clear()
            broadcast(None)
        found.append(store.result(kept))
    ds = side_by_side(dict(enumerate(found)), "seed")
    return ds.assign_attrs(study=name, **{key: _plain(value) for key, value in listed(settings).items()})


def side_by_side(datasets: Mapping[Any, xr.Dataset], dim: str) -> xr.Dataset:
    """Datasets along a new first dim, labelled by their keys; of coordinates that differ, the first one's stay.

    Examples
    --------
    >>> one = xr.Dataset({"nc1": ("layer", [2.0, 1.0])})
    >>> side_by_side({"plain": one, "normalised": one / 2}, "arm")["nc1"].dims
    ('arm', 'layer')
    """
    labels: Sequence[Any] = list(datasets)
    joined = xr.concat(
        list(datasets.values()),
        xr.DataArray(np.asarray(labels), dims=dim, name=dim),
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="drop_conflicts",
    )
    return joined


def _digest(settings: Any) -> str:
    """A short name of the settings; the number of seeds is none of it, so that seeds can be added."""
    values = {key: value for key, value in listed(settings).items() if key != "seeds"}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:10]


def _plain(value: Any) -> str | int | float:
    """As NetCDF and Zarr keep an attribute."""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else str(value)
