"""A lock that lets one profile at a time use a folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from layerwise.errors import InUse, InvalidData
from layerwise.runtime.progress import logger

__all__ = ["FolderLock"]


class FolderLock:
    """Locks a part of a folder against all other processes; the system unlocks it when this process ends.

    Parameters
    ----------
    folder : Path
        Made if it is missing; `release` removes it again if it is empty.
    part : str
        Name of the part.
    """

    def __init__(self, folder: Path, part: str) -> None:
        self._folder = folder
        self._path = folder / f"{part}.lock"
        self._lock = FileLock(self._path, timeout=0)
        self._made: list[Path] = []

    def acquire(self) -> None:
        """Lock the part.

        Raises
        ------
        InUse
            If another process holds the lock.
        InvalidData
            If the folder is a file.
        """
        if self._folder.exists() and not self._folder.is_dir():
            raise InvalidData(f"{self._folder} is a file; what a profile keeps goes into a folder")
        self._made = [item for item in (self._folder, *self._folder.parents) if not item.exists()]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise InUse(
                f"another profile is being measured with {self._folder}; wait for it, end it, or give another folder "
                "or another run"
            ) from None
        except (OSError, NotImplementedError) as error:
            logger.warning("%s cannot be locked against other processes: %s", self._folder, error)

    def release(self) -> None:
        """Unlock the part, and remove the lock's file and the folders that `acquire` made."""
        if self._lock.is_locked:
            self._path.unlink(missing_ok=True)
            self._lock.release()
        for item in dict.fromkeys([self._folder, *self._made]):
            with suppress(OSError):
                # Fails, as it should, for a folder that is not empty.
                item.rmdir()
