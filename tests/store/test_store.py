"""Stores: what is written comes back, writes are whole or not at all, and every refusal says why."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from helpers.profiles import made_up
from helpers.store_cases import rich, run_at_once, write_epochs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.storage import WrapperStore

from layerwise.errors import NotAStore, SchemaMismatch, UnknownName
from layerwise.store import EpochExists, InvalidRun, NotWritable, Store, export, open_store, write
from layerwise.store.sealed import SealedStore

WRITER = Path(__file__).parents[2] / "benchmarks" / "kill.py"

# Small stores that each released version wrote, and a number in them.
STORES = Path(__file__).parents[1] / "stores"
LAST_NC1 = 0.00010357761064428964


@pytest.fixture
def store() -> Store:
    return open_store("memory://")


# --- what is written comes back


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_round_trip_keeps_values_dtypes_coordinates_and_attributes(kind: str, tmp_path: Path) -> None:
    store = open_store("memory://" if kind == "memory" else tmp_path / "runs.lw")
    store.write(rich(), "resnet18/seed0")
    read = store["resnet18/seed0"].load()
    xr.testing.assert_identical(read, rich())
    assert {name: item.dtype for name, item in read.variables.items()} == {
        name: item.dtype for name, item in rich().variables.items()
    }


def test_a_run_is_opened_lazily_and_keeps_its_snapshot(store: Store) -> None:
    store.write(made_up(2), "a")
    before = store["a"]
    assert not before["nc1"].variable._in_memory
    store.write(made_up(3).isel(epoch=[2]), "a")
    store.delete("a")
    xr.testing.assert_identical(before.load(), made_up(2))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.permutations(range(7)), st.lists(st.integers(0, 7), max_size=3))
def test_any_partition_of_the_epochs_into_writes_gives_the_same_dataset(order: list[int], cuts: list[int]) -> None:
    whole = made_up(7, layers=3, splits=("train",))
    store = open_store("memory://")
    for part in np.split(np.array(order), sorted(set(cuts))):
        if len(part):
            store.write(whole.isel(epoch=part), "a")
    xr.testing.assert_identical(store["a"].load(), whole)


def test_appending_past_a_chunk_keeps_all_epochs(store: Store) -> None:
    whole = made_up(100, layers=60)
    store.write(whole.isel(epoch=slice(0, 60)), "a")
    store.write(whole.isel(epoch=slice(60, 99)), "a")
    store.write(whole.isel(epoch=slice(99, None)), "a")
    xr.testing.assert_identical(store["a"].load(), whole)


def test_overwrite_replaces_the_epochs_that_are_there_and_appends_the_others(store: Store) -> None:
    old, new = made_up(6), made_up(6, seed=1).assign_attrs(seed=0)
    store.write(old.isel(epoch=slice(0, 4)), "a")
    store.write(new.isel(epoch=[5, 1, 3]), "a", overwrite=True)
    expected = xr.concat(
        [old.isel(epoch=[0]), new.isel(epoch=[1]), old.isel(epoch=[2]), new.isel(epoch=[3, 5])],
        "epoch",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="exact",
    )
    xr.testing.assert_identical(store["a"].load(), expected)


def test_attributes_that_differ_later_are_kept_by_epoch(store: Store) -> None:
    whole = made_up(3)
    store.write(whole.isel(epoch=[0]).assign_attrs(seconds=1.5), "a")
    store.write(whole.isel(epoch=[2]).assign_attrs(seconds=2.5, device="cuda"), "a")
    store.write(whole.isel(epoch=[1]), "a")
    assert store["a"].attrs == {**whole.attrs, "seconds": 1.5}
    expected = pd.DataFrame(
        {"seconds": [1.5, np.nan, 2.5], "device": [None, None, "cuda"]}, index=pd.Index([0, 1, 2], name="epoch")
    )
    pd.testing.assert_frame_equal(store.attributes("a"), expected, check_dtype=False)


# --- many runs


def test_a_run_is_replaced_whole_or_not_at_all(store: Store) -> None:
    store.write(made_up(3), "a")
    other = made_up(2, seed=1).isel(layer=slice(0, 2))
    store.replace(other, "a")
    xr.testing.assert_identical(store["a"].load(), other)
    assert store.history()["message"].tolist() == ["a: 3 epochs, 0 to 2", "a: anew, 2 epochs, 0 to 1"]
    with pytest.raises(SchemaMismatch):
        store.replace(xr.Dataset(), "a")
    xr.testing.assert_identical(store["a"].load(), other)


def test_runs_are_listed_found_and_deleted_by_name(store: Store) -> None:
    for run in ("vit/seed1", "vit/seed0", "baseline"):
        store.write(made_up(), run)
    assert store.runs() == list(store) == ["baseline", "vit/seed0", "vit/seed1"]
    assert "vit/seed0" in store
    assert "vit" not in store
    store.delete("vit/seed0")
    assert len(store) == 2
    store.write(made_up(seed=2), "vit/seed0")
    xr.testing.assert_identical(store["vit/seed0"].load(), made_up(seed=2))


def test_the_tree_has_the_slashes_as_its_paths(store: Store) -> None:
    store.write(made_up(), "vit/seed0")
    store.write(made_up(layers=3), "baseline")
    tree = store.tree()
    assert set(tree.groups) == {"/", "/vit", "/vit/seed0", "/baseline"}
    xr.testing.assert_identical(tree["vit/seed0"].to_dataset().load(), made_up())


def test_history_names_every_write_in_order(store: Store) -> None:
    store.write(made_up(2), "a")
    store.write(made_up(3).isel(epoch=[2]), "a")
    store.delete("a")
    history = store.history()
    assert history["run"].tolist() == ["a", "a", "a"]
    assert history["epochs"].tolist() == [[0, 1], [2], []]
    assert history["message"].tolist() == ["a: 2 epochs, 0 to 1", "a: epoch 2", "a: deleted"]
    assert history["when"].is_monotonic_increasing


def test_compacting_frees_space_and_changes_no_profile(tmp_path: Path) -> None:
    store = open_store(tmp_path / "runs.lw")
    whole = made_up(5)
    for epoch in range(5):
        store.write(whole.isel(epoch=[epoch]).assign_attrs(seconds=epoch), "a")
    assert store.compact() == 0
    before = store.attributes("a")
    assert store.compact(keep=timedelta(0)) > 0
    xr.testing.assert_identical(store["a"].load(), whole.assign_attrs(seconds=0))
    pd.testing.assert_frame_equal(store.attributes("a"), before)
    store.write(made_up(6).isel(epoch=[5]), "a")
    assert store["a"].sizes["epoch"] == 6


# --- refusals


def test_an_epoch_is_not_written_twice(store: Store) -> None:
    store.write(made_up(3), "a")
    with pytest.raises(EpochExists, match=r"'a' already has epoch 1, 2; overwrite=True"):
        store.write(made_up(5, seed=1).isel(epoch=slice(1, None)), "a")
    xr.testing.assert_identical(store["a"].load(), made_up(3))
    with pytest.raises(SchemaMismatch, match="epoch 0 twice"):
        store.write(made_up(1).isel(epoch=[0, 0]), "b")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (made_up(2, layers=13), r"labels of 'layer' that the run does not have: encoder\.stages\.2\.blocks\.0$"),
        (made_up(2, splits=("train", "val")), "does not have: val; labels of 'split' that only the run has: test"),
        (made_up(2).drop_vars("nc1"), "variables that only the run has: nc1"),
        (made_up(2).assign(nc9=made_up(2)["nc1"]), "variables that the run does not have: nc9"),
        (made_up(2).drop_vars("step"), "coordinates that only the run has: step"),
        (made_up(2).assign_coords(depth=("layer", np.ones(12))), "the values of 'depth' differ"),
        (made_up(2).isel(layer=slice(None, None, -1)), "the values of 'layer' differ"),
        (made_up(2).assign(nc1=made_up(2)["stable_rank"]), "'nc1' has the dims"),
        (made_up(2).assign(nc1=made_up(2)["nc1"].astype(complex)), "'nc1' is complex128, the run's float64"),
    ],
)
def test_a_profile_that_does_not_continue_the_run_is_refused_with_what_differs(
    store: Store, other: xr.Dataset, said: str
) -> None:
    store.write(made_up(1), "a")
    with pytest.raises(SchemaMismatch, match=said):
        store.write(other.isel(epoch=[1]), "a")
    xr.testing.assert_identical(store["a"].load(), made_up(1))


def test_narrower_numbers_are_widened_to_what_is_stored(store: Store) -> None:
    store.write(made_up(1), "a")
    later = made_up(2).isel(epoch=[1])
    store.write(later.assign(nc1=later["nc1"].astype("float32")), "a")
    assert store["a"]["nc1"].dtype == "float64"


def test_what_is_no_profile_is_refused(store: Store) -> None:
    with pytest.raises(SchemaMismatch, match="not a layerwise profile"):
        store.write(xr.Dataset({"x": ("epoch", [1.0])}), "a")
    with pytest.raises(SchemaMismatch, match="has no epoch"):
        store.write(made_up(2).isel(epoch=[]), "a")
    assert store.runs() == []


def test_an_unknown_run_is_named_with_the_nearest(store: Store) -> None:
    store.write(made_up(), "resnet18/seed0")
    for ask in (store.__getitem__, store.delete, store.attributes):
        with pytest.raises(UnknownName, match=r"no run 'resnet18/seed1'; nearest: resnet18/seed0"):
            ask("resnet18/seed1")


def test_an_append_finds_the_run_where_zarr_wraps_no_store_for_reading(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As before Zarr 3.1.6.
    monkeypatch.setattr(WrapperStore, "with_read_only", zarr.abc.store.Store.with_read_only)
    for epoch in range(2):
        store.write(made_up(2).isel(epoch=[epoch]), "a")
    xr.testing.assert_identical(store["a"].load(), made_up(2))


def test_a_run_that_cannot_be_looked_up_is_not_replaced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(made_up(1), "a")
    with monkeypatch.context() as patch:
        patch.setattr(SealedStore, "with_read_only", lambda *_: (_ for _ in ()).throw(NotImplementedError))
        with pytest.raises(ValueError, match="Unable to create a read-only copy"):
            store.write(made_up(2).isel(epoch=[1]), "a")
    xr.testing.assert_identical(store["a"].load(), made_up(1))


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "a/../b", "__a", "a\nb", "a\\b"])
def test_a_name_that_no_zarr_group_can_have_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InvalidRun, match="separated by single slashes"):
        store.write(made_up(), name)
    assert name not in store


def test_runs_do_not_lie_inside_one_another(store: Store) -> None:
    store.write(made_up(), "a/b")
    with pytest.raises(InvalidRun, match="there are runs below it, such as 'a/b'"):
        store.write(made_up(), "a")
    with pytest.raises(InvalidRun, match="'a/b' is a run itself"):
        store.write(made_up(), "a/b/c/d")
    assert store.runs() == ["a/b"]


def test_a_newer_schema_says_upgrade(store: Store) -> None:
    store.write(made_up(), "a")
    session = store._repository.writable_session("main")
    zarr.open_group(store._sealed(session), path="a", mode="r+").attrs["layerwise_schema"] = 999
    session.commit("from the future")
    with pytest.raises(SchemaMismatch, match="upgrade layerwise"):
        store["a"]
    with pytest.raises(SchemaMismatch, match="upgrade layerwise"):
        store.write(made_up(2).isel(epoch=[1]), "a")


# --- places


def test_what_is_not_a_store_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("words")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo.jpg").touch()
    export(made_up(), tmp_path / "plain.zarr")
    for name, what in (("file", "a file of 5 bytes"), ("folder", r"a folder with photo\.jpg"), ("plain.zarr", "Zarr")):
        for create in (True, False):
            with pytest.raises(NotAStore, match=what):
                open_store(tmp_path / name, create=create)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["photo.jpg"]


def test_an_icechunk_repository_of_something_else_is_not_a_store(tmp_path: Path) -> None:
    import icechunk

    icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path / "other")))
    with pytest.raises(NotAStore, match="Icechunk repository of something else"):
        open_store(tmp_path / "other")


def test_nothing_is_made_where_none_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotAStore, match="there is no store at"):
        open_store(tmp_path / "runs.lw", create=False)
    with pytest.raises(UnknownName, match=r"no kind of store 'ftp://'; nearest: s3://, gs://"):
        open_store("ftp://host/runs")
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_made_once_and_opened_again_by_path_or_address(tmp_path: Path) -> None:
    (tmp_path / "runs.lw").mkdir()
    open_store(tmp_path / "runs.lw").write(made_up(), "a")
    assert open_store(str(tmp_path / "runs.lw"), create=False).runs() == ["a"]
    assert open_store(f"file://{tmp_path}/runs.lw").runs() == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs.lw"]


def test_a_store_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotWritable, match=r"no store can be made at .*runs\.lw: .*Not a directory"):
        open_store(tmp_path / "file" / "runs.lw")


def test_a_read_only_folder_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(NotWritable, match=r"no store can be made at .*runs\.lw: .*Permission denied"):
        open_store(tmp_path / "runs.lw")


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="the system has no limit on file sizes")
def test_a_disk_that_takes_no_more_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    import resource

    store = open_store(tmp_path / "runs.lw")
    store.write(made_up(1), "a")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(NotWritable, match=r"nothing was written to .*runs\.lw, it is as it was: File too large"):
            store.write(made_up(500, layers=60), "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    reopened = open_store(tmp_path / "runs.lw", create=False)
    assert reopened.runs() == ["a"]
    xr.testing.assert_identical(reopened["a"].load(), made_up(1))


def test_a_bucket_holds_a_store_like_a_folder_does(bucket: str) -> None:
    with pytest.raises(NotAStore, match="there is no store at s3://bucket/runs"):
        open_store(f"{bucket}/runs", create=False)
    whole = made_up(3)
    open_store(f"{bucket}/runs").write(whole.isel(epoch=[0, 1]), "vit/seed0")
    open_store(f"{bucket}/runs", create=False).write(whole.isel(epoch=[2]), "vit/seed0")
    xr.testing.assert_identical(open_store(f"{bucket}/runs", create=False)["vit/seed0"].load(), whole)
    with pytest.raises(NotAStore, match="bucket does not exist"):
        open_store("s3://another/runs")


# --- other processes


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


# --- what older versions wrote


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
