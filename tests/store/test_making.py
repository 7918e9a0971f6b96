"""Stores are made once, whole, and by however many at a time; what came to nothing leaves nothing."""

from __future__ import annotations

import _thread
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import icechunk
import pytest
import zarr
from helpers.command_line import TypeIn
from helpers.profiles import made_up
from helpers.store_cases import make_stores, run_at_once

from layerwise.errors import NotAStore
from layerwise.store import export, open, open_store


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_processes_that_make_a_store_at_once_all_get_it(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base = str(tmp_path) if kind == "folder" else request.getfixturevalue("bucket")
    places = [f"{base}/runs{number}.lw" for number in range(4)]
    failures = multiprocessing.get_context("spawn").Queue()
    run_at_once(make_stores, [(places,)] * 3, failures)
    assert [failures.get() for _ in range(failures.qsize())] == []
    assert all(open_store(place, create=False).runs() == [] for place in places)
    assert len(list(tmp_path.iterdir())) == (4 if kind == "folder" else 0)


def test_a_store_that_appears_while_it_is_looked_for_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, look = tmp_path / "runs.lw", open._content

    def look_late(place: Path) -> str | None:
        monkeypatch.setattr(open, "_content", look)
        open_store(path).write(made_up(), "a")
        return look(place)

    monkeypatch.setattr(open, "_content", look_late)
    assert open_store(path).runs() == ["a"]


def test_a_store_that_another_makes_in_between_is_marked_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = open._mark

    def mark_late(repository: icechunk.Repository, place: str) -> None:
        monkeypatch.setattr(open, "_mark", mark)
        open_store(place).write(made_up(), "a")
        mark(repository, place)

    monkeypatch.setattr(open, "_mark", mark_late)
    assert open_store(f"{bucket}/runs").runs() == ["a"]


def test_a_store_in_a_bucket_whose_maker_was_killed_is_named_and_finished(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(open, "_mark", die)
        open_store(f"{bucket}/runs")
    with pytest.raises(
        NotAStore, match="the store at s3://bucket/runs was not made to its end; opening it with create"
    ):
        open_store(f"{bucket}/runs", create=False)
    open_store(f"{bucket}/runs").write(made_up(), "a")
    assert open_store(f"{bucket}/runs", create=False).runs() == ["a"]


def test_the_first_objects_of_a_store_in_a_bucket_are_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open, "_PAUSE", 0)
    open_store(f"{bucket}/runs")
    boto3 = pytest.importorskip("boto3")
    boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).delete_object(
        Bucket="bucket", Key="runs/refs/branch.main/ref.json"
    )
    with pytest.raises(NotAStore, match="no store can be made at s3://bucket/runs: something is there that is none"):
        open_store(f"{bucket}/runs")


def test_a_bucket_with_the_repository_of_something_else_is_left_alone(bucket: str) -> None:
    repository = icechunk.Repository.create(open._s3(f"{bucket.removeprefix('s3://')}/other"))
    session = repository.writable_session("main")
    zarr.open_group(session.store, mode="w").attrs["weather"] = "fair"
    session.commit("weather")
    with pytest.raises(NotAStore, match="Icechunk repository of something else"):
        open_store(f"{bucket}/other")


@pytest.mark.parametrize("wrong", ["no profile", "no name", "no file"])
def test_an_import_that_fails_leaves_nothing(wrong: str, tmp_path: Path, type_in: TypeIn) -> None:
    pytest.importorskip("h5netcdf")
    file = tmp_path / "profile.nc"
    if wrong == "no profile":
        made_up().drop_vars("depth").to_netcdf(file, engine="h5netcdf")
    elif wrong == "no name":
        export(made_up(), file)
    code, _, err = type_in(
        "import", file, tmp_path / "deep" / "runs.lw", "--run", "a//b" if wrong == "no name" else "a"
    )
    assert code == 2
    assert err.startswith("error: ")
    assert not (tmp_path / "deep").exists()


def test_an_import_that_fails_leaves_an_empty_folder_as_it_was(tmp_path: Path, type_in: TypeIn) -> None:
    pytest.importorskip("h5netcdf")
    export(made_up(), tmp_path / "profile.nc")
    (tmp_path / "runs.lw").mkdir()
    assert type_in("import", tmp_path / "profile.nc", tmp_path / "runs.lw", "--run", "a//b")[0] == 2
    assert list((tmp_path / "runs.lw").iterdir()) == []
    assert type_in("import", tmp_path / "profile.nc", tmp_path / "runs.lw")[0] == 0
    assert open_store(tmp_path / "runs.lw", create=False).runs() == ["profile"]


def test_what_a_killed_maker_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / f".runs.lw.{'0' * 32}" / "refs").mkdir(parents=True)
    (tmp_path / f".runs.lw.{'0' * 32}.lock").touch()
    (tmp_path / f".other.lw.{'0' * 32}").mkdir()
    open_store(tmp_path / "runs.lw")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".other.lw.{'0' * 32}", "runs.lw"]


def test_a_process_that_ends_right_after_a_read_ends_well(tmp_path: Path) -> None:
    for run in "abc":
        open_store(tmp_path / "runs.lw").write(made_up(), run)
    command = [sys.executable, "-m", "layerwise", "ls", str(tmp_path / "runs.lw")]
    # Icechunk's threads may outlive the interpreter, in more than every other run of this if they are let.
    assert [subprocess.run(command, capture_output=True, check=False).returncode for _ in range(4)] == [0] * 4


def test_the_end_waits_for_a_thread_that_python_did_not_start() -> None:
    begun, ended = threading.Event(), []

    def answer() -> None:
        begun.set()
        time.sleep(0.05)
        ended.append(True)

    _thread.start_new_thread(answer, ())
    begun.wait()
    open._settle()
    assert ended == [True]
    # Those that it did may run for ever.
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, daemon=True)
    thread.start()
    open._settle()
    assert thread.is_alive()
    stop.set()
    thread.join()
