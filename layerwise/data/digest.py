"""Digests of values, files and folders: the same for the same content, wherever and whenever it was written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from layerwise.errors import InvalidData, UnknownName
from layerwise.runtime.reading_errors import refusing

__all__ = ["digest", "digest_files", "digest_path", "existing"]

#: Folders up to this size are digested with the contents of their files, larger ones with names and sizes.
_SMALL = 64 * 2**20


def digest(*parts: str | np.ndarray) -> str:
    """A digest of 16 hexadecimal digits.

    Examples
    --------
    >>> digest("a", "bc") == digest("ab", "c")
    False
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str}{part.shape}".encode())
            total.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        else:
            total.update(f"{len(part)}:{part}".encode())
    return total.hexdigest()[:16]


def digest_path(path: Path) -> str:
    """A digest of a file's content, or of the files of a folder by relative name, size and, if small, content."""
    if path.is_file():
        return _digest_file(path)
    return digest_files(path, sorted(file for file in path.rglob("*") if file.is_file()))


def digest_files(root: Path, paths: Iterable[Path]) -> str:
    """A digest of files by the name relative to `root`, the size and, if they are small, the content."""
    files = list(paths)
    sizes = [file.stat().st_size for file in files]
    names = [f"{file.relative_to(root).as_posix()}:{size}" for file, size in zip(files, sizes, strict=True)]
    contents = [_digest_file(file) for file in files] if sum(sizes) <= _SMALL else []
    return digest(*names, *contents)


def existing(path: str, what: str) -> Path:
    """The path of a file or folder that is there.

    Raises
    ------
    UnknownName
        Naming its nearest neighbours, if it is not.
    InvalidData
        If something else is there, or it cannot be looked up.
    """
    with refusing(f"the {what} {path!r:.200} cannot be looked up", (OSError, RuntimeError)):
        found = Path(path).expanduser()
        if found.is_file() if what == "file" else found.is_dir():
            return found
        if os.path.lexists(found):
            raise InvalidData(f"{path!r} is {_kind(found)}; a {what} is needed")
        beside = sorted(found.parent.iterdir()) if found.parent.is_dir() else []
        same = [item for item in beside if item.is_file() == (what == "file")]
    raise UnknownName(what, path, [str(item) for item in same])


def _kind(path: Path) -> str:
    """What a path is that is not what was looked for."""
    if path.is_dir():
        return "a folder"
    if path.is_file():
        return "a file"
    return "a pipe, a socket or a device" if path.exists() else "a link to nothing that is there"


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
