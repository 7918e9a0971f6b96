"""Every broken file of data is one clear line, and no file runs code."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from helpers.one_line import assert_one_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from layerwise.data import Source, read, stack_arrays
from layerwise.errors import LayerwiseError

from .broken import ARRAYS, FOLDERS, PICTURES, POSTSCRIPT, TABLES, png_of_size
from .files import reviews, write_csv, write_images, write_npz

# The library that reads tables leaves files open where it fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

# What is not the fault of a file as a whole is told by its split or its columns.
_OF_SPLITS = ("the split 'train'", "the labels of", "the label ", "which column", "the column ", "no array")


def consume(source: Source) -> list[tuple[Any, Any]]:
    """Every sample, as a network without preparations takes them."""
    found = [rows[index] for rows in source.splits.values() for index in range(len(rows))]
    if source.kind == "array":
        stack_arrays([inputs for inputs, _ in found])
    return found


def refused(name: str) -> str:
    """What is said of data that cannot be read."""
    with pytest.raises(LayerwiseError) as caught:
        consume(read(name))
    said = str(caught.value)
    path = name.partition(":")[2].partition("?")[0]
    assert_one_line(caught.value, *([] if said.startswith(_OF_SPLITS) else [path[:140]]))
    return said


@pytest.mark.parametrize("case", ARRAYS)
def test_broken_arrays_are_one_line(case: str, tmp_path: Path) -> None:
    refused(ARRAYS[case](tmp_path))


@pytest.mark.parametrize("case", TABLES)
def test_broken_tables_are_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = TABLES[case](tmp_path)
    refused(name)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("case", FOLDERS)
def test_broken_folders_are_one_line(case: str, tmp_path: Path) -> None:
    refused(FOLDERS[case](tmp_path))


@pytest.mark.parametrize("case", PICTURES)
def test_broken_pictures_are_one_line(case: str, tmp_path: Path) -> None:
    root = write_images(tmp_path / "photos", {"a": 1, "b": 1})
    file, content = PICTURES[case]
    (root / "a" / file).write_bytes(content)
    assert f"{root}/a/{file}" in refused(f"imagefolder:{root}")


def test_a_bomb_is_refused_with_its_size(tmp_path: Path) -> None:
    root = write_images(tmp_path / "photos", {"a": 1, "b": 1})
    (root / "a" / "bomb.png").write_bytes(png_of_size(60_000, 60_000))
    assert "3600000000 pixels" in refused(f"imagefolder:{root}")


def test_no_postscript_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = tmp_path / "bin" / "gs"
    interpreter.parent.mkdir()
    interpreter.write_text(f"#!/bin/sh\ntouch {tmp_path}/marker\n")
    interpreter.chmod(interpreter.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    root = write_images(tmp_path / "photos", {"a": 1, "b": 1})
    (root / "a" / "program.eps").write_bytes(POSTSCRIPT)
    assert list(read(f"imagefolder:{root}").notes) == ["split 'train': ignored 1 files that are no pictures: 1 .eps"]
    (root / "a" / "program.png").write_bytes(POSTSCRIPT)
    assert "program.png" in refused(f"imagefolder:{root}")
    refused(TABLES["parquet of postscript"](tmp_path))
    assert not (tmp_path / "marker").exists()


def test_pipes_in_a_folder_are_passed_over_unopened(tmp_path: Path) -> None:
    root = write_images(tmp_path / "photos", {"a": 2, "b": 2})
    for place in (root / "a" / "9.png", root / "b" / "pipe", root / "8.png"):
        os.mkfifo(place)
    source = read(f"imagefolder:{root}")
    assert len(source.splits["train"]) == 4
    assert "2 pipes or devices" in next(iter(source.notes))


def test_an_array_of_more_than_the_free_memory_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_npz(tmp_path / "a.npz")
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 100}))
    assert "704 bytes, and 100 are free in memory" in refused(f"npz:{path}")


def test_a_script_of_rows_is_named_and_not_run(tmp_path: Path) -> None:
    assert "is a data set whose rows are made by running set.py" in refused(TABLES["a script"](tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize("scheme", ["csv", "npz", "imagefolder"])
def test_files_without_permission_are_one_line(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {
        "csv": lambda: f"csv:{write_csv(tmp_path / 'a.csv', reviews())}",
        "npz": lambda: f"npz:{write_npz(tmp_path / 'a.npz')}",
        "imagefolder": lambda: f"imagefolder:{write_images(tmp_path / 'photos', {'a': 2, 'b': 2})}",
    }[scheme]()
    read(name)
    deny(monkeypatch, tmp_path)
    assert "Permission denied" in refused(name)


def deny(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let no file below a folder be opened, whoever the tests are run by."""
    own = io.open

    def opened(file: Any, *args: Any, **options: Any) -> Any:
        if isinstance(file, (str, os.PathLike)) and str(file).startswith(str(folder)):
            raise PermissionError(13, "Permission denied", str(file))
        return own(file, *args, **options)

    for where in ("io.open", "builtins.open"):
        monkeypatch.setattr(where, opened)


def test_a_broken_file_is_one_line_and_code_2_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from layerwise.cli import app as cli

    monkeypatch.chdir(tmp_path)
    name = ARRAYS["a wrong checksum"](tmp_path)
    monkeypatch.setattr("sys.argv", ["layerwise", "profile", "helpers.networks:Perceptron", name])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: the array 'x_train' of ")
    assert not [line for line in lines if "Traceback" in line]


Damage = Callable[[bytes], bytes]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Bytes that are changed, taken out or cut off."""
    share = st.floats(0, 1, exclude_max=True)
    flips = draw(st.lists(st.tuples(share, st.integers(1, 255)), max_size=4))
    kept = draw(st.one_of(st.just(1.0), share)) if flips else draw(share)
    gap = draw(st.one_of(st.none(), st.tuples(share, st.integers(1, 64))))

    def damage(content: bytes) -> bytes:
        found = bytearray(content)
        for place, change in flips:
            found[int(place * len(found))] ^= change
        if gap is not None:
            start = int(gap[0] * len(found))
            del found[start : start + gap[1]]
        return bytes(found[: int(kept * len(found))]) if kept < 1 else bytes(found)

    return damage


def whole(kind: str, folder: Path) -> tuple[str, Path]:
    """The name of whole data, and the file that is to be damaged."""
    match kind:
        case "npz":
            path = folder / "a.npz"
            np.savez_compressed(path, x=np.arange(90.0).reshape(30, 3), y=np.arange(30) % 3)
            return f"npz:{path}", path
        case "csv":
            path = write_csv(folder / "a.csv", reviews())
            return f"csv:{path}", path
        case _:
            root = write_images(folder / "photos", {"a": 1, "b": 1}, size=(9, 9))
            path = root / "a" / f"0.{kind}"
            (root / "a" / "0.png").unlink()
            noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(noise).save(path)
            return f"imagefolder:{root}", path


@pytest.mark.filterwarnings("default::UserWarning", "default::RuntimeWarning")
@pytest.mark.parametrize("kind", ["npz", "csv", "png", "jpg", "tif", "gif", "webp"])
def test_damage_anywhere_in_a_file_is_one_line_or_does_no_harm(kind: str, tmp_path: Path) -> None:
    datasets.disable_progress_bars()
    name, path = whole(kind, tmp_path)
    content, values = path.read_bytes(), consume(read(name))

    @settings(max_examples=20 if kind == "csv" else 40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(damages())
    def check(damage: Damage) -> None:
        path.write_bytes(damage(content))
        try:
            found = consume(read(name))
        except LayerwiseError as error:
            assert_one_line(error)
        else:
            if kind == "npz":
                # Checksums see to it that what loads is what was written.
                for (inputs, label), (own, own_label) in zip(found, values, strict=True):
                    assert np.array_equal(inputs, own)
                    assert label == own_label

    check()
