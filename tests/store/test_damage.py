"""Damaged stores: a value is the one that was written, or one error of ours names what is damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.command_line import TypeIn
from helpers.profiles import made_up
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from layerwise.errors import LayerwiseError
from layerwise.store import NotReadable, Store, layout, open_store
from layerwise.store.failures import reading
from layerwise.store.layout import names_by_array
from layerwise.store.read import open_packed

RUNS = {"vit/seed0": made_up(3), "resnet": made_up(2, layers=3, seed=1)}
RESULT = xr.Dataset({"words": ("place", np.array(["a", "bc"])), "count": 3})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two runs, one of them written in three parts and in several chunks, and of a result."""
    path = tmp_path_factory.mktemp("damage") / "runs.lw"
    store = open_store(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_CHUNK_EPOCHS", 2)
        for epoch in range(3):
            store.write(RUNS["vit/seed0"].isel(epoch=[epoch]).assign_attrs(seconds=epoch), "vit/seed0")
    store.write(RUNS["resnet"], "resnet")
    store.keep_result(RESULT, "words")
    return path


def _files(path: Path) -> list[Path]:
    """The files of a store, by kind and time, so that a number means the same file in every run."""
    there = (item for item in path.rglob("*") if item.is_file() and item.name != ".lock")
    return sorted(there, key=lambda item: (item.parent.name, item.stat().st_mtime_ns))


def _damage(path: Path, how: str, at: float, flip: int) -> None:
    raw = bytearray(path.read_bytes())
    place = int(at * len(raw))
    if how == "delete":
        path.unlink()
    elif how == "truncate":
        path.write_bytes(raw[:place])
    else:
        raw[place] ^= flip
        path.write_bytes(raw)


def _answer(path: Path, ask: Callable[[Store], Any], name: str) -> Any:
    """What a store answers; None if instead one line of ours names the run, or the store."""
    try:
        return ask(open_store(path, create=False))
    except LayerwiseError as error:
        line = str(error)
    assert name in line or str(path) in line
    assert "\n" not in line
    return None


_SHARE = st.floats(0, 1, exclude_max=True)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(_SHARE, st.sampled_from(["flip", "truncate", "delete"]), _SHARE, st.integers(1, 255))
def test_damage_makes_no_wrong_value_and_no_raw_error(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, file: float, how: str, at: float, flip: int
) -> None:
    path = tmp_path_factory.mktemp("copy") / "runs.lw"
    shutil.copytree(whole, path)
    files = _files(path)
    _damage(files[int(file * len(files))], how, at, flip)
    for run, expected in RUNS.items():
        answer = _answer(path, lambda store, run=run: store[run].load(), run)  # type: ignore[misc]
        if answer is not None:
            xr.testing.assert_equal(answer, expected)
            assert answer.attrs == ({**expected.attrs, "seconds": 0} if run == "vit/seed0" else expected.attrs)
    result = _answer(path, lambda store: store.result("words"), "words")
    assert result is None or result.identical(RESULT)
    log = _answer(path, lambda store: store.attributes("vit/seed0"), "vit/seed0")
    assert log is None or log["seconds"].tolist() == [0, 1, 2]
    listed = _answer(path, lambda store: store.contents(), "") or {}
    assert all(isinstance(found, LayerwiseError) or found["epochs"] in (2, 3) for found in listed.values())
    _answer(path, lambda store: store.history(), "")
    shutil.rmtree(path.parent)


def test_a_flipped_bit_in_a_chunk_is_an_error_that_names_run_and_variable(tmp_path: Path) -> None:
    path = tmp_path / "runs.lw"
    open_store(path).write(made_up(9), "vit/seed0")
    for chunk in (path / "chunks").iterdir():
        _damage(chunk, "flip", 0.4, 1)
    dataset = open_store(path)["vit/seed0"]
    with pytest.raises(
        NotReadable, match=r"'class_variance' of the run 'vit/seed0' of .* cannot be read: its checksum"
    ):
        dataset["class_variance"].load()
    # A write reads what is beside it, and must not make the damage a truth.
    with pytest.raises(NotReadable, match="'vit/seed0'"):
        open_store(path).write(made_up(10).isel(epoch=[9]), "vit/seed0")


def test_every_array_of_runs_and_results_has_a_checksum(whole: Path) -> None:
    source = open_store(whole)._transactions.latest()
    codecs = [
        array.metadata.to_dict()["codecs"][-1]["name"]
        for name in (*RUNS, "words")
        for _, array in zarr.open_group(source, path=name, mode="r").arrays()
    ]
    assert len(codecs) > 20
    assert set(codecs) == {"crc32c"}


def test_a_chunk_that_is_missing_is_no_nan(tmp_path: Path) -> None:
    store = open_store(tmp_path / "runs.lw")
    nothing = made_up(2)
    nothing["stable_rank"][:] = np.nan
    store.write(nothing, "a")
    xr.testing.assert_identical(store["a"].load(), nothing)
    session = store._transactions.repository.writable_session("main")
    arrays = names_by_array(open_packed(store._transactions.sealed(session), "a"))
    array = next(name for name, held in arrays.items() if "nc1" in held)
    sync(session.store.delete(f"a/{array}/c/0/0/0/0/0"))
    session.commit("lost")
    with pytest.raises(NotReadable, match="'nc1', 'ncc_error' of the run 'a' of .* cannot be read: a chunk is missing"):
        store["a"]["nc1"].load()


def test_swapped_metadata_is_noticed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "runs.lw")
    store.write(made_up(), "a")
    store.write(made_up().assign_attrs(seed=1), "b")
    session = store._transactions.repository.writable_session("main")
    raw = sync(session.store.get("b/zarr.json", default_buffer_prototype()))
    sync(session.store.set("a/zarr.json", raw))
    session.commit("mistaken")
    with pytest.raises(NotReadable, match="the run 'a' of .* the checksum of its description"):
        store["a"]
    assert store["b"].attrs["seed"] == 1
    assert store.runs() == ["a", "b"]


def _with_one_damaged(path: Path) -> Store:
    """A store of three runs, of which the description of one is not what was written."""
    store = open_store(path)
    for run in ("a", "b", "c"):
        store.write(made_up(2), run)
    session = store._transactions.repository.writable_session("main")
    zarr.open_group(session.store, path="b", mode="r+").attrs["model"] = "another"
    session.commit("damaged")
    return store


def test_one_damaged_run_hides_no_other_from_a_listing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = _with_one_damaged(tmp_path / "runs.lw")
    assert store.runs() == ["a", "b", "c"]
    contents = store.contents()
    assert contents["a"] == {
        "model": "made-up",
        "epochs": 2,
        "layers": 12,
        "splits": ["train", "test"],
        "metrics": ["class_variance", "nc1", "ncc_error", "stable_rank"],
    }
    assert isinstance(contents["b"], NotReadable)
    assert set(store.tree().children) == {"a", "c"}
    assert "the run 'b' of" in caplog.text


def test_ls_names_a_damaged_run_and_lists_the_others(tmp_path: Path, type_in: TypeIn) -> None:
    _with_one_damaged(tmp_path / "runs.lw")
    code, out, err = type_in("ls", tmp_path / "runs.lw")
    assert code == 1
    assert [line.partition(":")[0] for line in out.splitlines()] == ["a", "c"]
    assert err.count("\n") == 1
    assert err.startswith("damaged: the run 'b' of")
    code, out, _ = type_in("ls", tmp_path / "runs.lw", "--json")
    listed = json.loads(out)
    assert code == 1
    assert ["error" in row for row in listed] == [False, False, True]


def test_ls_reads_the_values_only_when_it_is_to_check_them(tmp_path: Path, type_in: TypeIn) -> None:
    path = tmp_path / "runs.lw"
    open_store(path).write(made_up(9), "a")
    for chunk in (path / "chunks").iterdir():
        _damage(chunk, "truncate", 0.5, 0)
    open_store(path).write(made_up(), "b")
    code, out, _ = type_in("ls", path)
    assert (code, len(out.splitlines())) == (0, 2)
    code, out, err = type_in("ls", path, "--check")
    assert code == 1
    assert out.startswith("b: ")
    assert "of the run 'a' of" in err


def test_a_panic_of_the_storage_is_one_line_of_ours(whole: Path) -> None:
    class PanicException(BaseException):
        pass

    with pytest.raises(NotReadable, match="the run cannot be read: index out of bounds"), reading("the run"):
        raise PanicException("index out of bounds\nstack")
    with pytest.raises(KeyboardInterrupt), reading("the run"):
        raise KeyboardInterrupt


def test_old_stores_get_checksums_for_new_runs_and_stay_readable_by_old_versions(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[1] / "stores" / "0.1.0", tmp_path / "old.lw")
    store = open_store(tmp_path / "old.lw")
    store.write(made_up(), "new")
    group = zarr.open_group(store._transactions.repository.readonly_session("main").store, path="new", mode="r")
    assert "nc1" in group
    assert "layerwise_seal" not in group.attrs
    assert group["nc1"].metadata.to_dict()["codecs"][-1]["name"] == "crc32c"
    xr.testing.assert_identical(store["new"].load(), made_up())
    assert set(store.contents()) == {"new", "resnet", "vit/seed0"}
