"""Stores: reads return what was written, writes are whole or not at all, and every refusal gives its reason."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from helpers.profiles import made_up
from helpers.store_cases import rich
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.storage import WrapperStore

from layerwise.errors import SchemaMismatch, UnknownName
from layerwise.store import EpochExists, InvalidRun, Store, open_store
from layerwise.store.sealed import SealedStore


@pytest.fixture
def store() -> Store:
    return open_store("memory://")


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


def test_datasets_that_are_no_profile_are_refused(store: Store) -> None:
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
    session = store._transactions.repository.writable_session("main")
    zarr.open_group(store._transactions.sealed(session), path="a", mode="r+").attrs["layerwise_schema"] = 999
    session.commit("from the future")
    with pytest.raises(SchemaMismatch, match="upgrade layerwise"):
        store["a"]
    with pytest.raises(SchemaMismatch, match="upgrade layerwise"):
        store.write(made_up(2).isel(epoch=[1]), "a")
