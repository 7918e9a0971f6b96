"""Folders that last as long as their process: what a killed one left is removed by the next."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["Scratch"]

_LOCK = ".lock"


class Scratch:
    """A new folder that is gone at the end, however the process ends.

    A lock beside it says that its process lives: the system frees the lock when that is killed. Folders of the same
    parent and prefix whose lock is free are removed on the way.

    Parameters
    ----------
    parent : Path
        Where the folder is made.
    prefix : str
        How its name begins.
    """

    def __init__(self, parent: Path, prefix: str) -> None:
        self._parent = parent
        self._prefix = prefix
        self._lock: FileLock | None = None
        self.path = parent

    def __enter__(self) -> Path:
        """Make it, and its parents."""
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self._parent)) from error
        self._sweep()
        while True:
            self.path = self._parent / f"{self._prefix}{uuid.uuid4().hex}"
            lock = FileLock(f"{self.path}{_LOCK}", timeout=0)
            try:
                lock.acquire()
            except (Timeout, NotImplementedError):
                break
            # Between making the file and locking it, another may have taken it for one that was left.
            if Path(lock.lock_file).exists():
                self._lock = lock
                break
            lock.release()
        self.path.mkdir()
        return self.path

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        _remove(self.path, self._lock)

    def _sweep(self) -> None:
        """Remove what processes left that live no more."""
        for path in self._parent.glob(f"{glob.escape(self._prefix)}{'[0-9a-f]' * 32}{_LOCK}"):
            lock = FileLock(path, timeout=0)
            # What belongs to another user stays.
            with suppress(OSError, Timeout, NotImplementedError):
                lock.acquire()
                _remove(path.with_name(path.name.removesuffix(_LOCK)), lock)


def _remove(folder: Path, lock: FileLock | None) -> None:
    """Remove a folder, and then its lock; what cannot be removed keeps its lock, for the next to find it."""
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        if not folder.exists():
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
