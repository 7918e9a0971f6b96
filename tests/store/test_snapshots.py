"""Old snapshots are forgotten as a store grows: what they take stays in proportion, and nobody loses what they read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import icechunk
import pytest
import xarray as xr
import zarr
from helpers.profiles import made_up
from helpers.store_cases import forget_and_write, run_at_once

from layerwise.store import Store, open_store, snapshots

TIMES = 4


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a store is to be made, of which snapshots are forgotten early."""
    monkeypatch.setattr(snapshots, "_TIMES", TIMES)
    monkeypatch.setattr(snapshots, "_LEAST_BYTES", 0)
    monkeypatch.setattr(snapshots, "_LEAST_KEPT", timedelta(0))
    return tmp_path / "runs.lw"


def sizes(path: Path) -> list[int]:
    return [item.stat().st_size for item in (path / "snapshots").iterdir()]


def root(path: Path) -> str:
    """The empty snapshot that every repository begins with."""
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(path)))
    return list(repository.ancestry(branch="main"))[-1].id


def fill(store: Store, runs: int, prefix: str = "run") -> None:
    for number in range(runs):
        store.write(made_up(seed=number), f"{prefix}{number}")


def test_snapshots_take_a_few_times_the_newest_however_many_runs(path: Path) -> None:
    store, newest = open_store(path), []
    for number in range(16):
        fill(store, 1, f"{number}.")
        assert sum(sizes(path)) <= TIMES * max(sizes(path))
        newest.append(max(sizes(path)))
    # The newest grows with the runs, so that all together grow with them too.
    assert newest[-1] < 2.5 * newest[7]
    assert len(store.runs()) == 16
    for number in range(16):
        xr.testing.assert_identical(store[f"{number}.0"].load(), made_up())
    assert store.history()["run"].tolist()[-1] == "15.0"


def test_no_snapshot_is_forgotten_while_they_take_little(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_LEAST_BYTES", 2**24)
    store = open_store(path)
    fill(store, 12)
    assert store.history()["run"].tolist() == [f"run{number}" for number in range(12)]


def test_no_young_snapshot_is_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_LEAST_KEPT", timedelta(hours=1))
    store = open_store(path)
    fill(store, 12)
    assert len(store.history()) == 12


def test_a_run_that_is_open_stays_readable_after_its_snapshot_was_forgotten(path: Path) -> None:
    store = open_store(path)
    store.write(made_up(3), "a")
    # Room for the descriptions of a few snapshots, as a store of thousands of runs has it by default.
    caching = icechunk.CachingConfig(num_snapshot_nodes=1000)
    store._repository = store._repository.reopen(config=icechunk.RepositoryConfig(caching=caching))
    opened = store["a"]
    before = {item.name for item in (path / "snapshots").iterdir()} - {root(path)}
    for number in range(20):
        fill(store, 1, f"{number}.")
        assert f"{number}.0" in store
    assert not before & {item.name for item in (path / "snapshots").iterdir()}
    xr.testing.assert_identical(opened.load(), made_up(3))


def test_others_that_have_forgotten_snapshots_in_memory_go_on(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    fill(store, 3)
    assert len(other.history()) == 3
    fill(store, 12, "later")
    assert other.history()["run"].tolist() == store.history()["run"].tolist()
    assert len(other.history()) < 10
    fill(other, 12, "last")
    assert sum(sizes(path)) <= TIMES * max(sizes(path))
    assert other.compact(timedelta(0)) > 0
    assert len(open_store(path).runs()) == 27


def test_what_a_kill_left_of_forgotten_snapshots_is_deleted_by_the_next_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(path)

    def die(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Path, "unlink", die)
        fill(store, 12)
    left = len(store.runs())
    assert left > len(store.history())
    assert sum(sizes(path)) > TIMES * max(sizes(path))
    fill(open_store(path), 1, "next")
    assert sum(sizes(path)) <= TIMES * max(sizes(path))
    assert len(open_store(path).runs()) == left + 1


def test_a_write_is_there_though_nothing_can_be_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(snapshots, "_begin_of_kept", refuse)
    store = open_store(path)
    fill(store, 8)
    assert len(store.runs()) == 8
    assert len(store.history()) == 8


def test_a_snapshot_that_was_tagged_is_not_forgotten(path: Path) -> None:
    store = open_store(path)
    fill(store, 2)
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(path)))
    repository.create_tag("paper", snapshot_id=repository.lookup_branch("main"))
    fill(store, 16, "later")
    assert len(store.history()) < 12
    tagged = repository.reopen().readonly_session(tag="paper")
    assert sorted(zarr.open_group(tagged.store, mode="r").group_keys()) == ["run0", "run1"]


def test_writers_and_readers_at_once_lose_nothing_while_snapshots_are_forgotten(tmp_path: Path) -> None:
    names = [f"vit/seed{seed}" for seed in range(3)]
    run_at_once(forget_and_write, [(tmp_path / "runs.lw", run) for run in names])
    store = open_store(tmp_path / "runs.lw")
    assert len(store.history()) < 24
    for run in names:
        xr.testing.assert_identical(store[run].load(), made_up(8))
