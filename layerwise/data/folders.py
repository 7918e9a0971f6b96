"""Folders of pictures: the folders of splits and of classes, and the files that are pictures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from layerwise.data.splits import SPLITS, split_named
from layerwise.errors import InvalidData, listed

__all__ = ["ClassFolders", "class_folders", "is_ignored", "split_folders"]

# Folders that operating systems and notebooks leave behind.
_LEFTOVERS = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__")
# Formats that PIL names and cannot open by itself, and PostScript, which is a program.
_FOREIGN = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG")


@dataclass
class ClassFolders:
    """The pictures of every class of one split, and the files and folders that were ignored.

    Attributes
    ----------
    pictures : dict of str to list of str
        Paths of the pictures of every class that has some; classes and paths are sorted.
    hidden : list of str
        Hidden folders, and folders that operating systems and notebooks leave behind.
    empty : list of str
        Class folders without a picture.
    others : Counter
        Number of files that are not pictures, by ending.
    outside : int
        Number of pictures outside the class folders.
    visited : dict of (device, inode) to Path
        The folders that were read.
    """

    pictures: dict[str, list[str]] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    outside: int = 0
    visited: dict[tuple[int, int], Path] = field(default_factory=dict)

    def notes(self, split: str) -> list[str]:
        """Return a line about ignored files and folders, and one about pictures in subfolders of classes, if any."""
        parts = []
        if self.hidden:
            parts.append(f"{len(self.hidden)} hidden: {listed(self.hidden, 5)}")
        if self.empty:
            parts.append(f"{len(self.empty)} class folders without a picture: {listed(self.empty, 5)}")
        if self.others:
            kinds = [f"{count} {ending or 'without ending'}" for ending, count in self.others.most_common()]
            parts.append(f"{self.others.total()} files that are no pictures: {listed(kinds, 5)}")
        if self.outside:
            parts.append(f"{self.outside} pictures outside of class folders")
        lines = [f"split {split!r}: ignored {'; '.join(parts)}"] if parts else []
        deeper = [name for name, paths in self.pictures.items() if len({os.path.dirname(path) for path in paths}) > 1]
        if deeper:
            lines.append(f"split {split!r}: pictures in folders below count to the classes {listed(deeper, 5)}")
        return lines


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden, or one that operating systems and notebooks leave behind."""
    return name.startswith(".") or name.lower() in _LEFTOVERS


def split_folders(root: Path, *, asked: bool = False) -> tuple[dict[str, Path], list[str]]:
    """Find the folders of the splits below `root`; without any, `root` is ``train``.

    Parameters
    ----------
    root : Path
    asked : bool
        Whether the caller asked for splits: folders with names of splits are then splits.

    Returns
    -------
    folders : dict of str to Path
        The folder of every split.
    notes : list of str
        Lines about renamed splits and folders that are not read.

    Raises
    ------
    InvalidData
        If folders may be splits or classes, or two folders may be the same split.
    """
    folders = _subfolders(root)
    named = [folder for folder in folders if split_named(folder.name)]
    # A class may be called "train"; but a class folder holds pictures, and the folder of a split holds folders.
    splits = [folder for folder in named if _subfolders(folder)]
    flat = [folder for folder in named if folder not in splits and _has_pictures(folder)]
    rest = [folder for folder in folders if folder not in named and _has_pictures(folder)]
    if not splits:
        if len(flat) > 1 or (flat and not rest):
            raise InvalidData(
                f"{_names(flat)} in {str(root)!r} may be splits without class folders, or classes of these names; "
                "put the pictures of a split in one subfolder a class, or rename the classes"
            )
        return {"train": root}, []
    if rest and not asked:
        option = ",".join(dict.fromkeys(str(split_named(folder.name)) for folder in splits))
        raise InvalidData(
            f"{_names(splits)} in {str(root)!r} may be splits or classes: {_names(rest)} beside them are no usual "
            f"splits. split={option} reads the splits alone; for classes, give {_names(splits)} other names"
        )
    by_split: dict[str, Path] = {}
    for folder in splits:
        split = str(split_named(folder.name))
        if split in by_split:
            raise InvalidData(f"{_names([by_split[split], folder])} in {str(root)!r} may both be the split {split!r}")
        by_split[split] = folder
    by_split = {split: by_split[split] for split in SPLITS if split in by_split}
    others = [folder.name for folder in folders if folder not in splits and folder not in flat]
    return by_split, _split_notes(by_split, flat, others)


def _split_notes(by_split: Mapping[str, Path], flat: list[Path], others: list[str]) -> list[str]:
    """Return lines about splits whose folder has another name, and about folders that are not read."""
    renamed = [f"{split!r} is the folder {path.name!r}" for split, path in by_split.items() if path.name != split]
    notes = [f"split {', '.join(renamed)}"] if renamed else []
    if flat:
        notes.append(f"not read: {_names(flat)}, which hold pictures without class folders")
    if others:
        notes.append(f"not read: folders beside those of the splits, {listed(others, 5)}")
    return notes


def class_folders(root: Path) -> ClassFolders:
    """Find the pictures of every class, a subfolder of a split's folder, in all folders below it.

    Raises
    ------
    InvalidData
        If there is no class, a folder links to itself or is found twice, or folders with names of splits are in the
        place of classes.
    """
    classes = ClassFolders()
    folders = _subfolders(root)
    if not folders:
        raise InvalidData(f"{str(root)!r} has no subfolders; images lie in one subfolder a class")
    for item in sorted(root.iterdir()):
        if is_ignored(item.name):
            classes.hidden.append(item.name)
        elif not item.is_dir():
            _count(str(item), [], classes)
    for folder in folders:
        paths: list[str] = []
        for path in _files(folder, classes):
            _count(path, paths, classes, outside=False)
        if paths:
            classes.pictures[folder.name] = paths
        else:
            classes.empty.append(folder.name)
    if not classes.pictures:
        raise InvalidData(f"no subfolder of {str(root)!r} has an image: {listed(classes.empty, 5)}")
    _check_depth(root, classes)
    return classes


def _count(path: str, paths: list[str], classes: ClassFolders, outside: bool = True) -> None:
    """Append the path of a picture to `paths`; count any other file, and pictures outside class folders."""
    if not _is_picture(path):
        classes.others[Path(path).suffix.lower()] += 1
    elif outside:
        classes.outside += 1
    else:
        paths.append(path)


def _files(folder: Path, classes: ClassFolders, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Yield the files in a folder and below, through links, in sorted order; count ignored entries in `classes`."""
    status = folder.stat()
    inode = (status.st_dev, status.st_ino)
    if inode in above or inode in classes.visited:
        first = classes.visited[inode]
        what = "links to a folder that it lies in" if inode in above else f"is the folder {str(first)!r} once more"
        raise InvalidData(f"{str(folder)!r} {what}: its pictures would count twice; take the link away")
    classes.visited[inode] = folder
    for item in sorted(folder.iterdir()):
        if is_ignored(item.name):
            classes.hidden.append(f"{folder.name}/{item.name}")
        elif item.is_dir():
            yield from _files(item, classes, (*above, inode))
        elif item.is_file():
            yield str(item)
        elif item.is_symlink():
            raise InvalidData(f"{str(item)!r} is a link to nothing that is there; mend it or take it away")
        else:
            classes.others["pipes or devices"] += 1


def _check_depth(root: Path, classes: ClassFolders) -> None:
    """Refuse class folders that hold splits, and a single class whose subfolders may be the classes."""
    below: dict[str, set[str]] = {
        name: {Path(path).relative_to(root / name).parts[0] for path in paths if Path(path).parent != root / name}
        for name, paths in classes.pictures.items()
    }
    nested = {name: inner for name, inner in below.items() if inner and all(map(split_named, inner))}
    if nested:
        name, inner = next(iter(nested.items()))
        names = listed(sorted(inner), 5)
        raise InvalidData(
            f"{str(root / name)!r} holds {names}: either {name!r} holds the splits, and its own path is "
            f"to be given, or it is a class whose pictures are to lie in SPLIT/{name}"
        )
    if len(below) == 1 and len(next(iter(below.values()))) > 1:
        ((name, inner),) = below.items()
        names = listed(sorted(inner), 5)
        raise InvalidData(
            f"{name!r} is the only folder in {str(root)!r} and holds folders, {names}: if these are the "
            f"classes, give {str(root / name)!r}; if {name!r} is the only class, take its pictures out of them"
        )


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(item for item in folder.iterdir() if item.is_dir() and not is_ignored(item.name))


def _has_pictures(folder: Path) -> bool:
    return any(map(_is_picture, _files(folder, ClassFolders())))


def _is_picture(path: str) -> bool:
    """Whether a file has the ending or the header of a picture; pipes are not opened."""
    from PIL import Image

    if not os.path.isfile(path):
        return False
    ending = os.path.splitext(path)[1].lower()
    if ending in _endings():
        return True
    try:
        with Image.open(path) as image:
            return image.format not in _FOREIGN
    except Image.DecompressionBombError:
        return True
    except Exception:
        # On a file that is no picture, PIL may raise any error.
        return False


@cache
def _endings() -> frozenset[str]:
    """Return the endings of the formats that PIL can open."""
    from PIL import Image

    known: Mapping[str, str] = Image.registered_extensions()
    return frozenset(ending for ending, kind in known.items() if kind in Image.OPEN and kind not in _FOREIGN)


def _names(folders: list[Path]) -> str:
    return " and ".join(repr(folder.name) for folder in folders)
