"""Places of stores: made once and opened again, a wrong or full place is one error and stays as it was."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import xarray as xr
from helpers.profiles import made_up

from layerwise.errors import NotAStore, UnknownName
from layerwise.store import NotWritable, export, open_store


def test_other_content_is_named_and_left_alone(tmp_path: Path) -> None:
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


def test_create_false_makes_nothing(tmp_path: Path) -> None:
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
def test_a_full_disk_leaves_the_store_as_it_was(tmp_path: Path) -> None:
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
