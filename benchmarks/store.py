"""What a store costs with 5,000 epochs of 60 layers and 40 metrics, and with 2,000 small runs.

Run as ``python -m benchmarks.store``; ``--epochs 0`` or ``--runs 0`` leaves a part out. Times are medians, and first
and last write are measured in turn in one run, so that their ratio does not depend on how busy the machine is.
``--singly`` writes all epochs one by one, as training does, which takes minutes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import xarray as xr

from layerwise.schema import LAYER_COORDINATES, Variable, assemble
from layerwise.store import Store, open_store

# Runs after which to see what they take.
MARKS = (100, 500, 1000)


def profile(epochs: range, layers: int, metrics: int) -> xr.Dataset:
    """A profile of noise, which no compression makes small."""
    generator = np.random.default_rng(epochs.start)
    dims = ("epoch", "split", "target", "layer")
    variables = [Variable(f"metric{index:02}", dims, f"metric {index}", "1", "down", "") for index in range(metrics)]
    values = {item.name: generator.standard_normal((len(epochs), 2, 1, layers)) for item in variables}
    labels = {
        "epoch": ("epoch", np.array(epochs)),
        "step": ("epoch", 100 * np.array(epochs)),
        "split": ("split", ["train", "test"]),
        "target": ("target", ["label"]),
        "layer": ("layer", [f"encoder.stages.{index // 6}.blocks.{index % 6}" for index in range(layers)]),
    }
    return assemble(values, variables, labels | {name: ("layer", np.ones(layers)) for name in LAYER_COORDINATES}, {})


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def fill(store: Store, run: str, epochs: int, shape: tuple[int, int], singly: bool) -> None:
    step = 1 if singly else epochs
    for start in range(0, epochs, step):
        store.write(profile(range(start, start + step), *shape), run)


def size(folder: Path) -> tuple[float, int]:
    """Megabytes and number of files."""
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return round(sum(files) / 1e6, 1), len(files)


def measure_writes(store: Store, epochs: int, shape: tuple[int, int], repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of a write to a run that has one epoch, and to one that has `epochs`, in turn."""
    early, late = [], []
    for index in range(repeats):
        run = f"short{index}"
        store.write(profile(range(1), *shape), run)
        second, last = profile(range(1, 2), *shape), profile(range(epochs + index, epochs + index + 1), *shape)
        early.append(seconds(lambda run=run, data=second: store.write(data, run)))  # type: ignore[misc]
        late.append(seconds(lambda data=last: store.write(data, "long")))  # type: ignore[misc]
    return early, late


def measure_epochs(path: Path, arguments: argparse.Namespace) -> None:
    """One long run: writes to it, and reads of it."""
    shape = (arguments.layers, arguments.metrics)
    store = open_store(path)
    print(f"{arguments.epochs} epochs, {shape[0]} layers, {shape[1]} metrics, 2 splits")
    first = seconds(lambda: store.write(profile(range(1), *shape), "first"))
    filling = seconds(lambda: fill(store, "long", arguments.epochs, shape, arguments.singly))
    megabytes, files = size(path)
    how = "one by one" if arguments.singly else "at once"
    print(f"fill {how}: {filling:.1f} s, {megabytes} MB in {files} files", flush=True)
    early, late = map(statistics.median, measure_writes(store, arguments.epochs, shape, arguments.repeats))
    print(f"write: creating a run {first:.3f} s, 2nd epoch {early:.3f} s, {arguments.epochs}th {late:.3f} s")
    print(f"write, {arguments.epochs}th over 2nd: {late / early:.2f}")
    opened = [seconds(lambda: open_store(path)["long"]) for _ in range(arguments.repeats)]
    one = [seconds(lambda: open_store(path)["long"]["metric00"].load()) for _ in range(arguments.repeats)]
    whole = [seconds(lambda: open_store(path)["long"].load()) for _ in range(3)]
    print(
        f"read: open {statistics.median(opened):.3f} s, open and one metric {statistics.median(one):.3f} s, "
        f"open and all {statistics.median(whole):.3f} s"
    )
    commits = len(store.history())
    print(f"history of {commits} commits: {seconds(store.history):.3f} s")
    compacting = seconds(lambda: store.compact(timedelta(0)))
    print(f"compacted in {compacting:.1f} s: {size(path)[0]} MB in {size(path)[1]} files")


def measure_runs(path: Path, arguments: argparse.Namespace) -> None:
    """Many small runs: what each costs, and how long a listing takes, the start of Python included."""
    store, small = open_store(path), profile(range(1), layers=8, metrics=20)
    print(f"{arguments.runs} runs of 1 epoch, 8 layers, 20 metrics, 2 splits")
    print("runs, written one by one       MB   of it snapshots    files   seconds of the last ten writes")
    marks = {*(mark for mark in MARKS if mark < arguments.runs), arguments.runs}
    times = []
    for run in range(arguments.runs):
        times.append(seconds(lambda run=run: store.write(small, f"run{run:04}")))  # type: ignore[misc]
        if run + 1 in marks:
            (megabytes, files), (snapshots, _) = size(path), size(path / "snapshots")
            last = statistics.median(times[-10:])
            print(f"{run + 1:>24,}{megabytes:>9}{snapshots:>18}{files:>9,}{last:>33.3f}", flush=True)
    contents = statistics.median(seconds(open_store(path).contents) for _ in range(arguments.repeats))
    command = [sys.executable, "-m", "layerwise", "ls", str(path)]
    listing = [
        seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(arguments.repeats)
    ]
    print(f"list: contents() {contents:.2f} s, layerwise ls {statistics.median(listing):.2f} s", flush=True)
    compacting = seconds(lambda: store.compact(timedelta(0)))
    print(f"compacted in {compacting:.1f} s: {size(path)[0]} MB in {size(path)[1]} files")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--layers", type=int, default=60)
    parser.add_argument("--metrics", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--singly", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.epochs:
            measure_epochs(Path(folder) / "epochs.lw", arguments)
        if arguments.runs:
            measure_runs(Path(folder) / "runs.lw", arguments)


if __name__ == "__main__":
    main()
