"""Kill a writer with SIGKILL, again and again, and see that a store always holds its last complete epoch.

Run as ``python benchmarks/kill.py 500``; exits with 1 if a store was ever damaged.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from layerwise.schema import LAYER_COORDINATES, Variable, assemble
from layerwise.store import open_store

_RUN = "killed"


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


def write_forever(path: str) -> None:
    """Append epoch after epoch, and announce how many there are."""
    print("start", flush=True)
    store = open_store(path)
    epoch = store[_RUN].sizes["epoch"] if _RUN in store else 0
    while True:
        print(epoch, flush=True)
        store.write(profile(epoch), _RUN)
        epoch += 1


def kill_once(path: str, after: float, until: int) -> list[int]:
    """Kill a writer `after` seconds beyond its line number `until`; what it announced."""
    writer = subprocess.Popen([sys.executable, __file__, "--write", path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(until)]
    # Not to see the end of it is what is expected of a writer that goes on for ever.
    with contextlib.suppress(subprocess.TimeoutExpired):
        writer.wait(timeout=after)
    writer.kill()
    said += writer.communicate()[0].splitlines()
    if writer.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the writer ended by itself, with {writer.returncode}")
    return [int(line) for line in said[1:]]


def check(path: str, announced: int) -> tuple[int, str]:
    """How many epochs a store has, and what is wrong with it: each must be whole, and none be gone or invented."""
    store = open_store(path)
    if _RUN not in store:
        return 0, f"{announced} epochs are gone" if announced else ""
    dataset = store[_RUN].load()
    count = dataset.sizes["epoch"]
    if not announced <= count <= announced + 1:
        return count, f"{count} epochs, where {announced} were written"
    epochs = [profile(epoch) for epoch in range(count)]
    whole = xr.concat(epochs, "epoch", data_vars="minimal", coords="minimal", compat="override", join="exact")
    return count, "" if dataset.identical(whole) else "values differ"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where the stores are made, by default a temporary folder")
    parser.add_argument("--write", metavar="STORE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write_forever(arguments.write)
    generator, damaged, epochs, known = random.Random(arguments.seed), 0, 0, 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for index in range(arguments.kills):
            # A new store every so often, so that making one is interrupted too.
            path = str(Path(folder) / f"store{index // 10}")
            known = 0 if index % 10 == 0 else known
            announced = kill_once(path, generator.uniform(0.0, 0.2), until=generator.randint(1, 4))
            count, wrong = check(path, announced[-1] if announced else known)
            epochs, known = epochs + count - known, count
            if wrong:
                damaged += 1
                print(f"kill {index}: {wrong}", flush=True)
    print(f"{arguments.kills} kills, {damaged} damaged, {epochs} epochs written in all")
    return int(damaged > 0)


if __name__ == "__main__":
    sys.exit(main())
