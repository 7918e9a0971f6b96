"""The moments at which `benchmarks.kill` kills: what is done again and again, and what must then be there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import xarray as xr

from layerwise.schema import LAYER_COORDINATES, Variable, assemble
from layerwise.store import export, import_profile, open_store
from layerwise.store.open import new_or_open

__all__ = ["MOMENTS", "Moment", "profile"]


@dataclass(frozen=True)
class Moment:
    """Something that can be killed.

    Attributes
    ----------
    act : callable
        Takes a place and the name of a run, and does one thing after another; yields the number of each before it.
    check : callable
        Takes the same and the last number that was yielded; returns how many are done, and what is wrong.
    """

    act: Callable[[str, str], Iterator[int]]
    check: Callable[[str, str, int], tuple[int, str]]


def profile(epoch: int, layers: int = 8, metrics: int = 6) -> xr.Dataset:
    """A profile of one epoch, whose every value follows from the epoch."""
    dims = ("epoch", "split", "layer")
    variables = [Variable(f"metric{index}", dims, f"metric {index}", "1", "down", "") for index in range(metrics)]
    values = {item.name: np.full((1, 2, layers), epoch + 0.5 * index) for index, item in enumerate(variables)}
    labels = {
        "epoch": ("epoch", [epoch]),
        "split": ("split", ["train", "test"]),
        "layer": ("layer", [f"layer{index}" for index in range(layers)]),
    }
    return assemble(values, variables, labels | {name: ("layer", np.ones(layers)) for name in LAYER_COORDINATES}, {})


def _write(place: str, run: str) -> Iterator[int]:
    store = open_store(place)
    for epoch in itertools.count(store[run].sizes["epoch"] if run in store else 0):
        yield epoch
        store.write(profile(epoch), run)


def _write_and_compact(place: str, run: str) -> Iterator[int]:
    for epoch in _write(place, run):
        # Nobody reads meanwhile, so that nothing needs to be kept.
        open_store(place).compact(timedelta(0))
        yield epoch


def _check_epochs(place: str, run: str, announced: int) -> tuple[int, str]:
    """Each epoch must be whole, and none be gone or invented."""
    store = open_store(place)
    if run not in store:
        return 0, f"{announced} epochs of {run} are gone" if announced else ""
    dataset = store[run].load()
    count = dataset.sizes["epoch"]
    if not announced <= count <= announced + 1:
        return count, f"{count} epochs of {run}, where {announced} were written"
    epochs = [profile(epoch) for epoch in range(count)]
    whole = xr.concat(epochs, "epoch", data_vars="minimal", coords="minimal", compat="override", join="exact")
    return count, "" if dataset.identical(whole) else f"values of {run} differ"


def _store(place: str, run: str, number: int) -> Path:
    return Path(f"{place}-made") / f"{run.replace('/', '-')}-{number}.lw"


def _open(place: str, run: str) -> Iterator[int]:
    for number in itertools.count(_first(_store, place, run)):
        yield number
        open_store(_store(place, run, number))


def _check_stores(place: str, run: str, announced: int) -> tuple[int, str]:
    """Each store must be one, and what was begun goes when it is begun again."""
    for number in range(announced):
        open_store(_store(place, run, number), create=False)
    last = _store(place, run, announced)
    open_store(last)
    return announced + 1, _left(last)


def _file(place: str, run: str, number: int) -> Path:
    suffix = (".nc", ".zarr")[number % 2]
    return Path(f"{place}-files") / f"{run.replace('/', '-')}-{number}{suffix}"


def _export(place: str, run: str) -> Iterator[int]:
    for number in itertools.count(_first(_file, place, run)):
        yield number
        export(profile(number), _file(place, run, number))


def _check_files(place: str, run: str, announced: int) -> tuple[int, str]:
    """Each file must be whole, and what was begun goes when it is written again."""
    last = _file(place, run, announced)
    export(profile(announced), last, overwrite=True)
    for number in range(announced + 1):
        if not import_profile(_file(place, run, number)).identical(profile(number)):
            return number, f"{_file(place, run, number)} is another profile"
    return announced + 1, _left(last)


def _import(place: str, run: str) -> Iterator[int]:
    begun = sum(name.startswith(f"{run}/") for name in open_store(place)) if Path(place).exists() else 0
    for number in itertools.count(begun):
        file = Path(f"{place}-files") / f"{run.replace('/', '-')}.nc"
        export(profile(number), file, overwrite=True)
        yield number
        with new_or_open(place) as store:
            store.write(import_profile(file), f"{run}/{number}")


def _check_runs(place: str, run: str, announced: int) -> tuple[int, str]:
    """Each run must be there, and whole."""
    store = open_store(place)
    done = sum(name.startswith(f"{run}/") for name in store)
    if not announced <= done <= announced + 1:
        return done, f"{done} imports of {run}, where {announced} were announced"
    wrong = [number for number in range(done) if not store[f"{run}/{number}"].load().identical(profile(number))]
    return done, f"values of {run}/{wrong[0]} differ" if wrong else ""


def _first(name: Callable[[str, str, int], Path], place: str, run: str) -> int:
    return next(number for number in itertools.count() if not name(place, run, number).exists())


def _left(path: Path) -> str:
    left = [item.name for item in path.parent.glob(f".{path.name}.*")]
    return f"{', '.join(left)} was left" if left else ""


MOMENTS = {
    "write": Moment(_write, _check_epochs),
    "open": Moment(_open, _check_stores),
    "export": Moment(_export, _check_files),
    "import": Moment(_import, _check_runs),
    "compact": Moment(_write_and_compact, _check_epochs),
    "s3": Moment(_write, _check_epochs),
}
