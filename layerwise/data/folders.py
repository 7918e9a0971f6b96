"""Folders of pictures: which of them are splits, which are classes, and which files are pictures."""

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

# What operating systems and notebooks leave behind.
_LEFTOVERS = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__")
# Formats that PIL names and cannot open by itself; PostScript is a program besides.
_FOREIGN = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG")


@dataclass
class ClassFolders:
    """The pictures of every class of one split, and what was ignored.

    Attributes
    ----------
    pictures : dict of str to list of str
        Paths of the pictures of every class that has some, both in sorted order.
    hidden : list of str
        Hidden folders and what operating systems and notebooks leave behind.
    empty : list of str
        Class folders without a picture.
    others : Counter
        Endings of files that are no pictures.
    outside : int
        Pictures that lie in no class folder.
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
        """One line for all that was ignored; none if there was nothing."""
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
    """Whether a file or folder is hidden, or was left behind by an operating system or a notebook."""
    return name.startswith(".") or name.lower() in _LEFTOVERS


def split_folders(root: Path, *, asked: bool = False) -> tuple[dict[str, Path], list[str]]:
    """The folders of the splits below `root`, or `root` itself as ``train``; and lines about what is not read.

    Parameters
    ----------
    root : Path
    asked : bool
        Whether the caller asked for splits, so that folders that are named like splits are.

    Raises
    ------
    InvalidData
        If folders can be read both as splits and as classes, or two of them as one split.
    """
    folders = _subfolders(root)
    named = [folder for folder in folders if split_named(folder.name)]
    # A class may be called "train"; but a class folder holds pictures, where a split's folder holds folders.
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
    found: dict[str, Path] = {}
    for folder in splits:
        split = str(split_named(folder.name))
        if split in found:
            raise InvalidData(f"{_names([found[split], folder])} in {str(root)!r} may both be the split {split!r}")
        found[split] = folder
    found = {split: found[split] for split in SPLITS if split in found}
    renamed = [f"{split!r} is the folder {path.name!r}" for split, path in found.items() if path.name != split]
    notes = [f"split {', '.join(renamed)}"] if renamed else []
    if flat:
        notes.append(f"not read: {_names(flat)}, which hold pictures without class folders")
    other = [folder.name for folder in folders if folder not in splits and folder not in flat]
    if other:
        notes.append(f"not read: folders beside those of the splits, {listed(other, 5)}")
    return found, notes


def class_folders(root: Path) -> ClassFolders:
    """The pictures of every subfolder of a split, those of folders below it included.

    Raises
    ------
    InvalidData
        If there is no class, a folder links to itself or is there twice, or folders that are named like splits lie
        where classes should.
    """
    found = ClassFolders()
    folders = _subfolders(root)
    if not folders:
        raise InvalidData(f"{str(root)!r} has no subfolders; images lie in one subfolder a class")
    for item in sorted(root.iterdir()):
        if is_ignored(item.name):
            found.hidden.append(item.name)
        elif not item.is_dir():
            _take(str(item), [], found)
    for folder in folders:
        paths: list[str] = []
        for path in _files(folder, found):
            _take(path, paths, found, outside=False)
        if paths:
            found.pictures[folder.name] = paths
        else:
            found.empty.append(folder.name)
    if not found.pictures:
        raise InvalidData(f"no subfolder of {str(root)!r} has an image: {listed(found.empty, 5)}")
    _check_depth(root, found)
    return found


def _take(path: str, paths: list[str], found: ClassFolders, outside: bool = True) -> None:
    """Count a file as a picture, or as what it is."""
    if not _is_picture(path):
        found.others[Path(path).suffix.lower()] += 1
    elif outside:
        found.outside += 1
    else:
        paths.append(path)


def _files(folder: Path, found: ClassFolders, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """The files in a folder and below, through links, in sorted order; what is hidden, or no file, is only noted."""
    status = folder.stat()
    own = (status.st_dev, status.st_ino)
    if own in above or own in found.visited:
        other = found.visited[own]
        what = "links to a folder that it lies in" if own in above else f"is the folder {str(other)!r} once more"
        raise InvalidData(f"{str(folder)!r} {what}: its pictures would count twice; take the link away")
    found.visited[own] = folder
    for item in sorted(folder.iterdir()):
        if is_ignored(item.name):
            found.hidden.append(f"{folder.name}/{item.name}")
        elif item.is_dir():
            yield from _files(item, found, (*above, own))
        elif item.is_file():
            yield str(item)
        elif item.is_symlink():
            raise InvalidData(f"{str(item)!r} is a link to nothing that is there; mend it or take it away")
        else:
            found.others["pipes or devices"] += 1


def _check_depth(root: Path, found: ClassFolders) -> None:
    """Refuse class folders that hold splits, and an only class that holds the classes."""
    below: dict[str, set[str]] = {
        name: {Path(path).relative_to(root / name).parts[0] for path in paths if Path(path).parent != root / name}
        for name, paths in found.pictures.items()
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
    """Whether a file has the ending of a picture, or begins like one; a pipe is never opened."""
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
        # Of what is no picture, PIL's readers may raise anything.
        return False


@cache
def _endings() -> frozenset[str]:
    """Endings of the formats that can be opened; without formats that PIL only names."""
    from PIL import Image

    known: Mapping[str, str] = Image.registered_extensions()
    return frozenset(ending for ending, kind in known.items() if kind in Image.OPEN and kind not in _FOREIGN)


def _names(folders: list[Path]) -> str:
    return " and ".join(repr(folder.name) for folder in folders)
