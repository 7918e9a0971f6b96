"""Folders of images with one subfolder for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layerwise.data.digest import digest, digest_files, existing
from layerwise.data.folders import ClassFolders, class_folders, split_folders
from layerwise.data.names import DataName
from layerwise.data.source import RawData
from layerwise.errors import InvalidData, listed
from layerwise.runtime.notes import Notes
from layerwise.runtime.pixels import colour_picture, decoding

__all__ = ["Pictures", "read_image_folder"]


class Pictures:
    """Image files, opened on access, in RGB with 8 bits a channel.

    Parameters
    ----------
    paths : sequence of path
    notes : Notes
        Gets a note where this form loses something.
    """

    def __init__(self, paths: Sequence[str | Path], notes: Notes) -> None:
        self.paths = list(map(str, paths))
        self.notes = notes

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        path = self.paths[index]
        with decoding(repr(path)), Image.open(path) as image:
            image.load()
            return colour_picture(image, repr(path), self.notes.add)


def read_image_folder(request: DataName) -> RawData:
    """Read `DIR/CLASS/*.jpg`, or splits by their usual names, `DIR/train/CLASS/*.jpg`, `DIR/Testing/...`, `valid`.

    The splits are called ``train``, ``val`` and ``test``, whatever the spelling of their folders.
    """
    root = existing(request.path, "folder")
    folders, lines = split_folders(root, asked=bool(request.splits))
    notes = Notes()
    # A split may be asked for by the name of its folder.
    named = {split: split for split in folders} | {
        folder.name: split for split, folder in folders.items() if folder != root
    }
    chosen = request.choose_by(named)
    by_split = {split: class_folders(folder) for split, folder in folders.items() if split in chosen}
    _check_classes({split: list(classes.pictures) for split, classes in by_split.items()})
    ignored = [line for split, classes in by_split.items() for line in classes.notes(split)]
    for line in [*lines, *ignored, *_differences(by_split)]:
        notes.add(line)
    splits, content = {}, []
    for split, classes in by_split.items():
        paths = [path for files in classes.pictures.values() for path in files]
        names = np.repeat(list(classes.pictures), list(map(len, classes.pictures.values())))
        splits[split] = (Pictures(paths, notes), names)
        content += [split, digest_files(folders[split], map(Path, paths))]
    return RawData("image", splits, digest(*content), notes=notes)


def _check_classes(classes: Mapping[str, list[str]]) -> None:
    """Refuse splits that have no class in common, or classes whose names differ only in capitals."""
    names = list(classes)
    for split, other in ((names[0], other) for other in names[1:]):
        only_split, only_other = set(classes[split]) - set(classes[other]), set(classes[other]) - set(classes[split])
        lowered = {name.lower(): name for name in only_split}
        alike = next((name for name in sorted(only_other) if name.lower() in lowered), None)
        if alike is not None:
            raise InvalidData(
                f"the class {lowered[alike.lower()]!r} of split {split!r} and {alike!r} of {other!r} differ in "
                "capitals only, and would be two classes; write them alike"
            )
        if len(only_other) == len(classes[other]):
            raise InvalidData(
                f"the splits {split!r} and {other!r} have no class in common: {listed(classes[split], 3)} and "
                f"{listed(classes[other], 3)}"
            )


def _differences(by_split: Mapping[str, ClassFolders]) -> list[str]:
    """Return a line for every split that lacks classes, and for every two splits that share folders."""
    lines = []
    all_classes = sorted({name for classes in by_split.values() for name in classes.pictures})
    for split, classes in by_split.items():
        missing = [name for name in all_classes if name not in classes.pictures]
        if missing:
            lines.append(
                f"split {split!r} has no picture of {len(missing)} of {len(all_classes)} classes: {listed(missing, 5)}"
            )
    split_of: dict[tuple[int, int], str] = {}
    for split, classes in by_split.items():
        others = {split_of[inode] for inode in classes.visited if inode in split_of}
        lines += [f"splits {other!r} and {split!r} share folders: samples are in both" for other in sorted(others)]
        split_of |= dict.fromkeys(classes.visited, split)
    return lines
