from __future__ import annotations

import logging
from pathlib import Path

import pytest
from PIL import Image

from layerwise.data import read
from layerwise.errors import InvalidData, UnknownName

from .files import write_images


@pytest.fixture
def quiet_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "layerwise")
    return caplog


def splits_of(root: Path, options: str = "") -> dict[str, int]:
    return {split: len(rows) for split, rows in read(f"imagefolder:{root}{options}").splits.items()}


@pytest.mark.parametrize(
    "names",
    [("Train", "Val", "Test"), ("training", "validation", "testing"), ("TRAIN", "dev", "test_set"), ("train", "valid")],
)
def test_split_folders_go_by_their_usual_names(
    names: tuple[str, ...], tmp_path: Path, quiet_log: pytest.LogCaptureFixture
) -> None:
    for count, name in enumerate(names, 1):
        write_images(tmp_path / name, {"ant": count, "bee": count})
    assert splits_of(tmp_path) == dict(list({"train": 2, "val": 4, "test": 6}.items())[: len(names)])
    (line,) = quiet_log.messages
    assert all(repr(name) in line for name in names if name not in ("train", "val", "test"))


def test_a_split_is_asked_for_by_either_name(tmp_path: Path) -> None:
    for name in ("train", "valid"):
        write_images(tmp_path / name, {"ant": 1, "bee": 1})
    assert splits_of(tmp_path, "?split=valid") == splits_of(tmp_path, "?split=val") == {"val": 2}
    with pytest.raises(UnknownName, match="no split 'test'"):
        read(f"imagefolder:{tmp_path}?split=test")


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (
            ["train/ant", "train/bee", "cat"],
            "'train' in .* may be splits or classes: 'cat' beside .* split=train reads",
        ),
        (["train/ant", "val/ant", "dev/ant"], "'dev' and 'val' in .* may both be the split 'val'"),
        (["train", "test"], "may be splits without class folders, or classes"),
        (["Training"], "may be splits without class folders, or classes"),
        (["ant/train", "ant/test", "bee/train", "bee/test"], "holds test, train: either 'ant' holds the splits"),
        (["photos/train/ant", "photos/test/ant"], "holds test, train: either 'photos' holds the splits"),
        (["photos/ant", "photos/bee"], "if these are the classes, give .*photos"),
        (["train/train/ant", "train/train/bee"], "if these are the classes, give .*train/train"),
        (["train/Ant", "train/bee", "test/ant", "test/bee"], "'Ant' of split 'train' and 'ant' of 'test' differ"),
        (["train/ant", "test/bee"], "no class in common: ant and bee"),
    ],
)
def test_ambiguous_folders_are_refused(folders: list[str], says: str, tmp_path: Path) -> None:
    for folder in folders:
        write_images(tmp_path, {folder: 1})
    with pytest.raises(InvalidData, match=says):
        read(f"imagefolder:{tmp_path}")


def test_ignored_files_are_noted_in_one_line(tmp_path: Path, quiet_log: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path, {"ant": 2, "bee": 3, ".ipynb_checkpoints": 1, "__MACOSX": 1, "cat": 0})
    Image.new("L", (4, 4)).save(tmp_path / "outside.png")
    for name in ("ant/.DS_Store", "ant/Thumbs.db", "cat/scan.npy", "README.md"):
        (tmp_path / name).write_text("no picture")
    source = read(f"imagefolder:{tmp_path}")
    assert source.classes == ("ant", "bee")
    (line,) = quiet_log.messages
    assert list(source.notes) == [line]
    assert "3 hidden" in line
    assert "1 class folders without a picture: cat" in line
    assert "3 files that are no pictures" in line
    assert "1 pictures outside" in line


def test_folders_that_are_no_splits_are_noted(tmp_path: Path, quiet_log: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path / "train", {"ant": 1, "bee": 1})
    write_images(tmp_path, {"test": 2})
    (tmp_path / "annotations").mkdir()
    assert splits_of(tmp_path) == {"train": 2}
    assert [line.split(",")[0] for line in quiet_log.messages] == [
        "not read: 'test'",
        "not read: folders beside those of the splits",
    ]


def test_requested_splits_may_lie_among_other_folders(tmp_path: Path) -> None:
    write_images(tmp_path, {"train/ant": 1, "train/bee": 1, "unlabeled": 3})
    assert splits_of(tmp_path, "?split=train") == {"train": 2}


@pytest.mark.parametrize("ending", ["gif", "jfif", "webp", "bmp", "tif", "jpe", "ppm", ""])
def test_files_that_pil_opens_are_pictures(ending: str, tmp_path: Path) -> None:
    write_images(tmp_path, {"ant": 1})
    (tmp_path / "bee").mkdir()
    kind = {"jfif": "JPEG", "jpe": "JPEG", "": "PNG"}.get(ending)
    Image.new("RGB", (6, 4), (9, 9, 9)).save(tmp_path / "bee" / f"one.{ending}".rstrip("."), kind)
    source = read(f"imagefolder:{tmp_path}")
    assert source.classes == ("ant", "bee")
    assert source.splits["train"][1][0].size == (6, 4)


@pytest.mark.parametrize(
    ("link", "target", "says"),
    [
        ("ant/again", "ant", "links to a folder that it lies in"),
        ("cat", "ant", "is the folder .*ant' once more"),
        ("bee/deep", "ant", "is the folder .*ant' once more"),
    ],
)
def test_links_that_count_pictures_twice_are_refused(link: str, target: str, says: str, tmp_path: Path) -> None:
    write_images(tmp_path, {"ant": 1, "bee": 1})
    (tmp_path / link).symlink_to(tmp_path / target, target_is_directory=True)
    with pytest.raises(InvalidData, match=says):
        read(f"imagefolder:{tmp_path}")


def test_links_are_classes_and_enter_the_fingerprint(tmp_path: Path) -> None:
    write_images(tmp_path / "all", {"ant": 1, "bee": 2})
    root = tmp_path / "chosen"
    root.mkdir()
    for name in ("ant", "bee"):
        (root / name).symlink_to(tmp_path / "all" / name, target_is_directory=True)
    before = read(f"imagefolder:{root}").fingerprint
    Image.new("L", (6, 4), 99).save(tmp_path / "all" / "bee" / "1.png")
    assert splits_of(root) == {"train": 3}
    assert read(f"imagefolder:{root}").fingerprint != before


def test_shared_folders_and_missing_classes_are_noted(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"ant": 1, "bee": 1})
    write_images(tmp_path / "test", {"bee": 1})
    (tmp_path / "val").symlink_to(tmp_path / "test", target_is_directory=True)
    notes = list(read(f"imagefolder:{tmp_path}").notes)
    assert "splits 'val' and 'test' share folders: samples are in both" in notes
    assert "split 'test' has no picture of 1 of 2 classes: ant" in notes


def test_pictures_in_subfolders_count_and_are_noted(tmp_path: Path) -> None:
    write_images(tmp_path, {"ant/small": 1, "ant/large": 1, "bee": 1})
    source = read(f"imagefolder:{tmp_path}")
    assert source.splits["train"].labels.tolist() == [0, 0, 1]
    assert list(source.notes) == ["split 'train': pictures in folders below count to the classes ant"]
