"""A folder for one profile at a time."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from layerwise.errors import InUse, InvalidData
from layerwise.runtime.progress import logger

__all__ = ["FolderLock"]


class FolderLock:
    """Locks a part of a folder against all other processes; it is unlocked when this one ends, however it ends.

    Parameters
    ----------
    folder : Path
        Made for the time of the lock, and gone again if nothing else was put into it.
    part : str
        What is locked.
    """

    def __init__(self, folder: Path, part: str) -> None:
        self._folder = folder
        self._path = folder / f"{part}.lock"
        self._lock = FileLock(self._path, timeout=0)
        self._made: list[Path] = []

    def acquire(self) -> None:
        """Lock it.

        Raises
        ------
        InUse
            If another has.
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
        """Unlock it, and leave nothing behind."""
        if self._lock.is_locked:
            self._path.unlink(missing_ok=True)
            self._lock.release()
        for item in dict.fromkeys([self._folder, *self._made]):
            with suppress(OSError):
                # Only what is empty goes.
                item.rmdir()
