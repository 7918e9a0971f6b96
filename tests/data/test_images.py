from __future__ import annotations

from pathlib import Path

import pytest

from layerwise.data import read
from layerwise.errors import InvalidData, UnknownName

from .files import write_images


def test_subfolders_are_classes_and_images_come_in_rgb(tmp_path: Path) -> None:
    source = read(f"imagefolder:{write_images(tmp_path, {'cat': 2, 'ant': 3})}")
    assert (source.kind, source.classes, list(source.splits)) == ("image", ("ant", "cat"), ["train"])
    image, label = source.splits["train"][4]
    assert (image.mode, image.size, image.getpixel((0, 0)), label) == ("RGB", (6, 4), (1, 1, 1), 1)


def test_a_class_missing_from_a_split_moves_no_other(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"ant": 1, "bee": 1, "cat": 1})
    write_images(tmp_path / "val", {"bee": 1, "cat": 1})
    source = read(f"imagefolder:{tmp_path}")
    assert list(source.splits) == ["train", "val"]
    assert source.splits["val"].labels.tolist() == [1, 2]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    source = read(f"imagefolder:{write_images(tmp_path, {'train': 2, 'bus': 1})}")
    assert (source.classes, list(source.splits)) == (("bus", "train"), ["train"])


def test_only_the_splits_that_are_asked_for_are_read(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"ant": 1})
    (tmp_path / "test" / "ant").mkdir(parents=True)
    assert list(read(f"imagefolder:{tmp_path}?split=train").splits) == ["train"]
    with pytest.raises(InvalidData, match="has an image"):
        read(f"imagefolder:{tmp_path}")
    with pytest.raises(UnknownName, match="no split 'tets'; nearest: test"):
        read(f"imagefolder:{tmp_path}?split=tets")


def test_a_flat_folder_and_a_missing_one_are_named(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InvalidData, match="no subfolders"):
        read(f"imagefolder:{tmp_path}/photos")
    with pytest.raises(UnknownName, match=r"no folder .*photo'; nearest: .*photos"):
        read(f"imagefolder:{tmp_path}/photo")


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, {"ant": 1})
    (tmp_path / "ant" / "0.png").write_bytes(b"no image")
    with pytest.raises(InvalidData, match=r"0\.png"):
        read(f"imagefolder:{tmp_path}").splits["train"][0]
