"""Digests of values, files and folders, which depend on the content alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from layerwise.errors import InvalidData, UnknownName
from layerwise.runtime.reading_errors import refusing

__all__ = ["digest", "digest_files", "digest_path", "existing"]

#: A digest of files includes their contents up to this size in total, and only names and sizes beyond it.
_SMALL = 64 * 2**20


def digest(*parts: str | np.ndarray) -> str:
    """Return a digest of 16 hexadecimal digits.

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
    """Return the digest of a file's content, or that of all files of a folder (`digest_files`)."""
    if path.is_file():
        return _digest_file(path)
    return digest_files(path, sorted(file for file in path.rglob("*") if file.is_file()))


def digest_files(root: Path, paths: Iterable[Path]) -> str:
    """Return the digest of files: of names relative to `root`, sizes and, if they are small, contents."""
    files = list(paths)
    sizes = [file.stat().st_size for file in files]
    names = [f"{file.relative_to(root).as_posix()}:{size}" for file, size in zip(files, sizes, strict=True)]
    contents = [_digest_file(file) for file in files] if sum(sizes) <= _SMALL else []
    return digest(*names, *contents)


def existing(path: str, what: str) -> Path:
    """Return the path of an existing file or folder.

    Raises
    ------
    UnknownName
        If nothing has that path; the message names the nearest in its folder.
    InvalidData
        If the path is something else, or cannot be looked up.
    """
    with refusing(f"the {what} {path!r:.200} cannot be looked up", (OSError, RuntimeError)):
        expanded = Path(path).expanduser()
        if expanded.is_file() if what == "file" else expanded.is_dir():
            return expanded
        if os.path.lexists(expanded):
            raise InvalidData(f"{path!r} is {_kind(expanded)}; a {what} is needed")
        siblings = sorted(expanded.parent.iterdir()) if expanded.parent.is_dir() else []
        alike = [item for item in siblings if item.is_file() == (what == "file")]
    raise UnknownName(what, path, [str(item) for item in alike])


def _kind(path: Path) -> str:
    """Return the kind of what is at a path, for messages."""
    if path.is_dir():
        return "a folder"
    if path.is_file():
        return "a file"
    return "a pipe, a socket or a device" if path.exists() else "a link to nothing that is there"


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
