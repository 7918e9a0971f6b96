"""Sessions of one repository: reads of the newest snapshot, and changes that are committed whole or not at all."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import icechunk
from filelock import FileLock

from layerwise.runtime.progress import logger
from layerwise.store.failures import NotWritable, is_failure, reading, reason
from layerwise.store.sealed import SealedStore
from layerwise.store.snapshots import forget_old_snapshots

__all__ = ["BRANCH", "Transactions"]

BRANCH = "main"

# A write starts anew when another writer was faster, at most this often; each time one of the others succeeded.
_ATTEMPTS = 100

# What a writer without a lock has written and not yet committed is younger than this.
_LEAST_KEPT = timedelta(hours=1)

# How often to read the history anew because others shortened it.
_READINGS = 3

# How often to compact anew because others did, and the longest pause in between, in seconds.
_COMPACTIONS = 10
_PAUSE = 0.5


class Transactions:
    """Reads and writes of one Icechunk repository.

    Parameters
    ----------
    repository : icechunk.Repository
        Where the runs are.
    place : str
        Its name in messages.
    seals : bool
        Whether its metadata is sealed; that of stores of version 1 is not.
    lock : path, optional
        File that writers lock, where the storage itself does not serialise commits.
    """

    def __init__(
        self, repository: icechunk.Repository, place: str, *, seals: bool = True, lock: Path | None = None
    ) -> None:
        self.place = place
        self.repository = repository
        self._reader: tuple[str, icechunk.Repository] = ("", repository)
        self._seals = seals
        self._folder = lock.parent if lock is not None else None
        self._lock = FileLock(lock) if lock is not None else contextlib.nullcontext()

    def latest(self) -> SealedStore:
        """Open the newest snapshot for reading."""
        with reading(f"the store {self.place}"):
            newest = self.repository.lookup_branch(BRANCH)
            # The readers of one snapshot share a repository, whose memory still holds the snapshot when its file is
            # deleted: the repository that may have read it already.
            snapshot, repository = self._reader
            if snapshot != newest:
                repository, self.repository = self.repository, self.repository.reopen()
                self._reader = (newest, repository)
            session = repository.readonly_session(snapshot_id=newest)
        return self.sealed(session)

    def sealed(self, session: icechunk.Session) -> SealedStore:
        """Wrap the store of a session so that it is sealed and checked."""
        return SealedStore(session.store, self.place, seals=self._seals)

    def commit(self, change: Callable[[SealedStore], None], message: str, *, run: str, epochs: list[object]) -> None:
        """Make a change and commit it; start anew if another writer has changed the same arrays or groups meanwhile.

        Raises
        ------
        NotWritable
            If the storage refuses, or other writers are faster all the time.
        """
        for _ in range(_ATTEMPTS):
            with self._writing("written to"):
                session = self.repository.writable_session(BRANCH)
                change(self.sealed(session))
                try:
                    newest = session.commit(
                        message, {"run": run, "epochs": epochs}, rebase_with=icechunk.ConflictDetector()
                    )
                except (icechunk.ConflictError, icechunk.RebaseFailedError):
                    continue
                except icechunk.IcechunkError:
                    # After a compaction by another Icechunk cannot see what was committed since: write on top of it.
                    if self.repository.lookup_branch(BRANCH) == session.snapshot_id:
                        raise
                    continue
                self._forget_old_snapshots(newest)
                return
        raise NotWritable(f"nothing was written to {self.place}: {_ATTEMPTS} times another writer was faster")

    def history(self) -> list[icechunk.SnapshotInfo]:
        """Return the snapshots of all writes, newest first."""
        with reading(f"the history of the store {self.place}"):
            return [snapshot for snapshot in self._ancestry() if "run" in snapshot.metadata]

    def compact(self, keep: timedelta) -> int:
        """Delete what was replaced longer ago than `keep`, and return the bytes freed; see `Store.compact`."""
        before = datetime.now(UTC) - (max(keep, _LEAST_KEPT) if self._folder is None else keep)
        with self._writing("compacted in"):
            for attempts_left in reversed(range(_COMPACTIONS)):
                # A repository may have snapshots in memory that others have changed.
                repository = self.repository.reopen()
                try:
                    repository.expire_snapshots(older_than=before)
                    return int(repository.garbage_collect(before).bytes_deleted)
                except icechunk.IcechunkError:
                    # Without a lock another process may have deleted what this one was about to read.
                    if not attempts_left:
                        raise
                time.sleep(random.uniform(0, _PAUSE))
        return 0

    def _ancestry(self) -> list[icechunk.SnapshotInfo]:
        """Return all snapshots, newest first; read anew if another process forgets the oldest of them meanwhile."""
        for attempts_left in reversed(range(_READINGS)):
            try:
                # A repository may have snapshots in memory that others have changed.
                return list(self.repository.reopen().ancestry(branch=BRANCH))
            except icechunk.IcechunkError:
                if not attempts_left:
                    raise
        return []

    @contextlib.contextmanager
    def _writing(self, done: str) -> Iterator[None]:
        """Hold the lock; raise `NotWritable` in place of any error of the storage."""
        try:
            with self._lock:
                yield
        except BaseException as error:
            if not is_failure(error, OSError, icechunk.IcechunkError):
                raise
            raise NotWritable(f"nothing was {done} {self.place}, it is as it was: {reason(error)}") from error

    def _forget_old_snapshots(self, newest: str) -> None:
        """Keep the size of the snapshots in a folder in proportion; the write is complete even if this fails."""
        if self._folder is None:
            return
        try:
            forget_old_snapshots(self.repository.reopen(), self._folder, newest)
        except BaseException as error:
            if not is_failure(error, OSError, icechunk.IcechunkError):
                raise
            logger.debug("old snapshots stay in %s: %s", self.place, reason(error))
