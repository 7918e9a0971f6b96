"""Folders of images, a subfolder a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layerwise.data.digest import digest, digest_files, existing
from layerwise.data.folders import ClassFolders, class_folders, split_folders
from layerwise.data.names import DataName
from layerwise.data.source import RawData
from layerwise.errors import InvalidData
from layerwise.runtime.notes import Notes
from layerwise.runtime.pixels import colour_picture, decoding

__all__ = ["Pictures", "read_image_folder"]


class Pictures:
    """Image files, opened in RGB with 8 bits a channel when asked for.

    Parameters
    ----------
    paths : sequence of path
    notes : Notes
        Where it is told what is lost in that form.
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

    The splits are called ``train``, ``val`` and ``test``, however their folders are written.
    """
    root = existing(request.path, "folder")
    folders, lines = split_folders(root, asked=bool(request.splits))
    notes = Notes()
    # A split may be asked for by the name of its folder.
    named = {split: split for split in folders} | {
        folder.name: split for split, folder in folders.items() if folder != root
    }
    chosen = request.choose_by(named)
    found = {split: class_folders(folder) for split, folder in folders.items() if split in chosen}
    _check_classes({split: list(split_found.pictures) for split, split_found in found.items()})
    for line in [*lines, *(line for split in found for line in found[split].notes(split)), *_same(found)]:
        notes.add(line)
    splits, content = {}, []
    for split, classes in found.items():
        paths = [path for files in classes.pictures.values() for path in files]
        names = np.repeat(list(classes.pictures), list(map(len, classes.pictures.values())))
        splits[split] = (Pictures(paths, notes), names)
        content += [split, digest_files(folders[split], map(Path, paths))]
    return RawData("image", splits, digest(*content), notes=notes)


def _check_classes(classes: Mapping[str, list[str]]) -> None:
    """Refuse splits that share no class, or whose classes differ in capitals only."""
    names = list(classes)
    for split, other in ((names[0], other) for other in names[1:]):
        here, there = set(classes[split]) - set(classes[other]), set(classes[other]) - set(classes[split])
        lowered = {name.lower(): name for name in here}
        alike = next((name for name in sorted(there) if name.lower() in lowered), None)
        if alike is not None:
            raise InvalidData(
                f"the class {lowered[alike.lower()]!r} of split {split!r} and {alike!r} of {other!r} differ in "
                "capitals only, and would be two classes; write them alike"
            )
        if len(there) == len(classes[other]):
            raise InvalidData(
                f"the splits {split!r} and {other!r} have no class in common: {', '.join(classes[split][:3])} and "
                f"{', '.join(classes[other][:3])}"
            )


def _same(found: Mapping[str, ClassFolders]) -> list[str]:
    """A line for every class that a split lacks, and for splits that are the same files."""
    lines = []
    every = sorted({name for classes in found.values() for name in classes.pictures})
    for split, classes in found.items():
        absent = [name for name in every if name not in classes.pictures]
        if absent:
            lines.append(
                f"split {split!r} has no picture of {len(absent)} of {len(every)} classes: {', '.join(absent[:5])}"
            )
    places: dict[tuple[int, int], str] = {}
    for split, classes in found.items():
        twice = {places[own] for own in classes.visited if own in places}
        lines += [f"splits {other!r} and {split!r} share folders: samples are in both" for other in sorted(twice)]
        places |= dict.fromkeys(classes.visited, split)
    return lines
