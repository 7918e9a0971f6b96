"""Many writers, killed writers and older versions: no complete write is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from helpers.profiles import made_up
from helpers.store_cases import run_at_once, write_epochs

from layerwise.store import open_store, write

WRITER = Path(__file__).parents[2] / "benchmarks" / "kill.py"

# Small stores that each released version wrote, and a number in them.
STORES = Path(__file__).parents[1] / "stores"
LAST_NC1 = 0.00010357761064428964


def test_eight_processes_write_eight_runs_at_once_and_none_is_lost(tmp_path: Path) -> None:
    runs = [f"vit/seed{seed}" for seed in range(8)]
    run_at_once(write_epochs, [(tmp_path / "runs.lw", run) for run in runs])
    store = open_store(tmp_path / "runs.lw", create=False)
    assert store.runs() == runs
    for run in runs:
        xr.testing.assert_identical(store[run].load(), made_up(4))


@pytest.mark.parametrize("kind", ["memory", "bucket"])
def test_writers_without_a_lock_start_anew_when_they_collide(kind: str, request: pytest.FixtureRequest) -> None:
    """A rival commits after the run is written and before it is committed: twice, each time making the same group."""
    store = open_store("memory://" if kind == "memory" else request.getfixturevalue("bucket") + "/runs")
    original, rivals = write.write_run, iter(["vit/seed1", "vit/seed2"])

    def interrupted(target: object, run: str, *arguments: object, **options: object) -> None:
        original(target, run, *arguments, **options)  # type: ignore[arg-type]
        if run == "vit/seed0" and (other := next(rivals, None)):
            store.write(made_up(seed=int(other[-1])), other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "write_run", interrupted)
        store.write(made_up(), "vit/seed0")
    assert store.runs() == ["vit/seed0", "vit/seed1", "vit/seed2"]
    for seed in range(3):
        xr.testing.assert_identical(store[f"vit/seed{seed}"].load(), made_up(seed=seed))
    assert store.history()["run"].tolist() == ["vit/seed1", "vit/seed2", "vit/seed0"]


def test_a_kill_at_any_moment_leaves_the_last_complete_epoch(tmp_path: Path) -> None:
    finished = subprocess.run(
        [
            sys.executable,
            str(WRITER),
            "6",
            "--moments",
            "write",
            "open",
            "compact",
            "--seed",
            "1",
            "--folder",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "6 kills, 0 damaged" in finished.stdout


@pytest.mark.parametrize("version", sorted(path.name for path in STORES.iterdir()))
def test_stores_of_every_released_version_open_and_go_on(version: str, tmp_path: Path) -> None:
    shutil.copytree(STORES / version, tmp_path / "old.lw")
    store = open_store(tmp_path / "old.lw", create=False)
    assert store.runs() == ["resnet", "vit/seed0"]
    dataset = store["vit/seed0"].load()
    assert dict(dataset.sizes) == {"epoch": 3, "split": 2, "target": 1, "layer": 4, "class": 4}
    assert float(dataset["nc1"].sel(split="test", layer="encoder.stages.0.blocks.3")[-1, 0]) == pytest.approx(LAST_NC1)
    assert dataset["nc1"].attrs["direction"] == "down"
    store.write(dataset.isel(epoch=[-1]).assign_coords(epoch=[3]), "vit/seed0")
    assert store["vit/seed0"]["epoch"].values.tolist() == [0, 1, 2, 3]
