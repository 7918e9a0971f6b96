"""Temporary folders of a process; the next process removes those of a killed one."""

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
    """A new folder that is removed at the end of the context.

    A locked file next to the folder shows that its process is alive; the system frees the lock of a killed process.
    Entering the context removes folders of the same parent and prefix whose lock is free.

    Parameters
    ----------
    parent : Path
        The folder that the new one is made in.
    prefix : str
        Beginning of the new folder's name.
    """

    def __init__(self, parent: Path, prefix: str) -> None:
        self._parent = parent
        self._prefix = prefix
        self._lock: FileLock | None = None
        self.path = parent

    def __enter__(self) -> Path:
        """Make the folder and its parents."""
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
            # Before the lock was held, another process may have removed the file as one of a killed process.
            if Path(lock.lock_file).exists():
                self._lock = lock
                break
            lock.release()
        self.path.mkdir()
        return self.path

    def __exit__(self, *_: object) -> None:
        """Remove the folder."""
        _remove(self.path, self._lock)

    def _sweep(self) -> None:
        """Remove the folders of processes that have ended."""
        for path in self._parent.glob(f"{glob.escape(self._prefix)}{'[0-9a-f]' * 32}{_LOCK}"):
            lock = FileLock(path, timeout=0)
            # Folders of other users stay.
            with suppress(OSError, Timeout, NotImplementedError):
                lock.acquire()
                _remove(path.with_name(path.name.removesuffix(_LOCK)), lock)


def _remove(folder: Path, lock: FileLock | None) -> None:
    """Remove a folder, and then its lock; a folder that cannot be removed keeps the file, so that the next finds it."""
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        if not folder.exists():
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
