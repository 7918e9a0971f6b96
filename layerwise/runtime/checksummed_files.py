"""Files with length and checksum: a file that differs from what was written is detected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xxhash

from layerwise.errors import InvalidData

__all__ = ["Damaged", "checksum", "is_whole", "read_sealed", "seal_of", "write_sealed"]

_BLOCK = 2**20


class Damaged(InvalidData):
    """A file that differs from what was written: cut short, changed or missing."""


def checksum(path: Path, length: int | None = None) -> xxhash.xxh3_128:
    """Return the running checksum of a file, or of its first `length` bytes.

    Raises
    ------
    Damaged
        If the file is missing, or has fewer bytes.
    """
    digest = xxhash.xxh3_128()
    left = float("inf") if length is None else length
    try:
        with path.open("rb") as file:
            while left > 0 and (block := file.read(int(min(left, _BLOCK)))):
                digest.update(block)
                left -= len(block)
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}") from error
    if length is not None and left:
        raise Damaged(f"{path} is cut short")
    return digest


def seal_of(path: Path) -> dict[str, Any]:
    """Return name, length and checksum of a file, as plain data."""
    return {"file": path.name, "length": path.stat().st_size, "checksum": checksum(path).hexdigest()}


def is_whole(folder: Path, seal: dict[str, Any]) -> bool:
    """Whether the folder has the file of a seal, unchanged."""
    path = folder / seal["file"]
    return path.is_file() and seal_of(path) == seal


def write_sealed(path: Path, content: Any) -> None:
    """Write plain data with its checksum, all or nothing; an older file is replaced."""
    text = json.dumps(content)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps({"checksum": _of_text(text), "content": text}))
    draft.replace(path)


def read_sealed(path: Path) -> Any:
    """Read the plain data that `write_sealed` wrote.

    Raises
    ------
    Damaged
        If the file is not what was written.
    """
    try:
        sealed = json.loads(path.read_text())
        if sealed["checksum"] == _of_text(sealed["content"]):
            return json.loads(sealed["content"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise Damaged(f"{path} is damaged or cut short")


def _of_text(text: str) -> str:
    return xxhash.xxh3_128_hexdigest(text.encode())
