"""A profile that is hard to keep, and a writer in a process of its own, for the tests of stores and of plain files."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.queues import Queue
from pathlib import Path
from threading import Barrier

import numpy as np
import xarray as xr
from helpers.profiles import made_up

from layerwise.store import open_store, snapshots


def run_at_once(work: Callable[..., None], arguments: Sequence[Sequence[object]], *after: object) -> None:
    """Run a function in as many processes as there are arguments, with a barrier behind them, and see all end well."""
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(len(arguments))
    workers = [spawn.Process(target=work, args=(*own, together, *after)) for own in arguments]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * len(workers)


def write_epochs(path: Path, run: str, together: Barrier) -> None:
    """Write four epochs of a run, from the moment when all others are ready too."""
    together.wait()
    store = open_store(path)
    for epoch in range(4):
        store.write(made_up(4).isel(epoch=[epoch]), run)


def make_stores(places: list[str], together: Barrier, failures: Queue[str]) -> None:
    """Make stores, each at the moment when all others make it too."""
    for place in places:
        together.wait()
        try:
            open_store(place)
        except Exception as error:
            failures.put(f"{type(error).__name__}: {error}")


def compact_and_write(path: Path, run: str, together: Barrier) -> None:
    """Write four epochs of a run, and compact after each."""
    store = open_store(path)
    together.wait()
    for epoch in range(4):
        store.write(made_up(4).isel(epoch=[epoch]), run)
        store.compact(timedelta(0))
        open_store(path).runs()


def forget_and_write(path: Path, run: str, together: Barrier) -> None:
    """Write eight epochs of a run and read them, while every write that can forgets old snapshots."""
    snapshots._TIMES, snapshots._LEAST_BYTES, snapshots._LEAST_KEPT = 12, 0, timedelta(0)
    store = open_store(path)
    together.wait()
    for epoch in range(8):
        store.write(made_up(8).isel(epoch=[epoch]), run)
        assert store[run].load().sizes["epoch"] == epoch + 1
        assert store.history()["run"].tolist()[-1].startswith("vit")


def rich() -> xr.Dataset:
    """A profile with what file formats like to change: NaN, infinities, integers, booleans, empty and long strings."""
    dataset = made_up(epochs=3, layers=5, targets=("fine", "coarse, or bias"))
    dataset["nc1"][0, 0, 0, :3] = [np.nan, np.inf, -np.inf]
    dataset["between_rank"] = dataset["nc1"].fillna(0).astype("float32")
    dataset["count"] = dataset["nc1"].copy(data=np.arange(dataset["nc1"].size).reshape(dataset["nc1"].shape))
    dataset["count"].attrs["units"] = "seconds"
    dataset["kind"] = ("layer", ["", "Conv2d", "Blöck", "Sequential" * 9, "x"])
    dataset["projected"] = ("layer", [True, False, True, True, False])
    dataset = dataset.set_coords(["projected"])
    dataset.attrs |= {"seconds": 1.25, "commit": "", "counts": "[10, 20]"}
    return dataset
