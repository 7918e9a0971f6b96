"""Kill writers with SIGKILL, again and again, and see that a store always holds their last complete epochs.

    python -m benchmarks.kill [500]

Two processes write two runs to one store, and are killed at random moments; exits with 1 if a store was ever damaged:
every epoch that was announced is there, whole and once, and every run opens.
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

_RUNS = ("resnet/seed0", "resnet/seed1")


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


def write_forever(path: str, run: str) -> None:
    """Append epoch after epoch, and announce how many there are."""
    print("start", flush=True)
    store = open_store(path)
    epoch = store[run].sizes["epoch"] if run in store else 0
    while True:
        print(epoch, flush=True)
        store.write(profile(epoch), run)
        epoch += 1


def start(path: str, run: str) -> subprocess.Popen[str]:
    """A writer in a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, "--write", path, "--run", run], stdout=subprocess.PIPE, text=True
    )


def kill_once(writer: subprocess.Popen[str], after: float, until: int) -> list[int]:
    """Kill a writer `after` seconds beyond its line number `until`; what it announced."""
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


def check(path: str, run: str, announced: int) -> tuple[int, str]:
    """How many epochs a run has, and what is wrong with it: each must be whole, and none be gone or invented."""
    store = open_store(path)
    if run not in store:
        return 0, f"{announced} epochs of {run} are gone" if announced else ""
    dataset = store[run].load()
    count = dataset.sizes["epoch"]
    if not announced <= count <= announced + 1:
        return count, f"{count} epochs of {run}, where {announced} were written"
    epochs = [profile(epoch) for epoch in range(count)]
    whole = xr.concat(epochs, "epoch", data_vars="minimal", coords="minimal", compat="override", join="exact")
    return count, "" if dataset.identical(whole) else f"values of {run} differ"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where the stores are made, by default a temporary folder")
    parser.add_argument("--write", metavar="STORE", help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write_forever(arguments.write, arguments.run)
    generator, kills, damaged, epochs = random.Random(arguments.seed), 0, 0, 0
    known = dict.fromkeys(_RUNS, 0)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        while kills < arguments.kills:
            # A new store every so often, so that making one is interrupted too.
            path = str(Path(folder) / f"store{kills // 20}")
            known = known if kills % 20 else dict.fromkeys(_RUNS, 0)
            writers = {run: start(path, run) for run in _RUNS}
            announced = {
                run: kill_once(writers[run], generator.uniform(0.0, 0.2), until=generator.randint(1, 4))
                for run in generator.sample(_RUNS, len(_RUNS))
            }
            for run, said in announced.items():
                kills += 1
                count, wrong = check(path, run, said[-1] if said else known[run])
                epochs, known[run] = epochs + count - known[run], count
                if wrong:
                    damaged += 1
                    print(f"kill {kills}: {wrong}", flush=True)
    print(f"{kills} kills, {damaged} damaged, {epochs} epochs written in all")
    return int(damaged > 0)


if __name__ == "__main__":
    sys.exit(main())
