"""The store itself: runs by name, each read lazily and written in one transaction."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icechunk
import pandas as pd
import xarray as xr
from filelock import FileLock

from layerwise.errors import LayerwiseError, UnknownName
from layerwise.runtime.progress import logger
from layerwise.store import read, results, write
from layerwise.store.failures import NotReadable, NotWritable, is_failure, reading, reason
from layerwise.store.listing import list_contents, list_runs
from layerwise.store.sealed import SealedStore
from layerwise.store.snapshots import forget_old_snapshots

__all__ = ["BRANCH", "Store"]

BRANCH = "main"

# How often a write starts anew because others were faster; each time one of those others got through.
_ATTEMPTS = 100

# What a writer without a lock has written and not committed is younger than this.
_LEAST_KEPT = timedelta(hours=1)

# How often to read the history anew because others shortened it.
_READINGS = 3

# How often to compact anew because others did, and seconds to wait at most in between.
_COMPACTIONS = 10
_PAUSE = 0.5


class Store:
    """Many runs in one place, each a profile that grows along ``epoch``; made by `open_store`.

    ``store[run]`` reads a run, ``run in store``, ``len(store)`` and iteration go over the runs' names. Every
    read sees the last complete write, and keeps seeing it while others write.

    Parameters
    ----------
    repository : icechunk.Repository
        Where the runs are.
    place : str
        What to call it in messages.
    seals : bool
        Whether its metadata is sealed; that of stores of version 1 is not.
    lock : path, optional
        File that writers lock, where the storage itself does not serialise commits.
    """

    def __init__(
        self, repository: icechunk.Repository, place: str, *, seals: bool = True, lock: Path | None = None
    ) -> None:
        self.place = place
        self._repository = repository
        self._reader: tuple[str, icechunk.Repository] = ("", repository)
        self._seals = seals
        self._folder = lock.parent if lock is not None else None
        self._lock = FileLock(lock) if lock is not None else contextlib.nullcontext()

    def __repr__(self) -> str:
        return f"Store({self.place!r})"

    def __getitem__(self, run: str) -> xr.Dataset:
        """Open a run lazily, its epochs in ascending order.

        Raises
        ------
        UnknownName
            If there is no such run.
        NotReadable
            If the run is damaged or out of reach; what is read later may raise it too.
        SchemaMismatch
            If the run was written by a newer layerwise.
        """
        return read.open_run(self._known(run), run)

    def __contains__(self, run: object) -> bool:
        return isinstance(run, str) and read.is_run(self._latest(), run)

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs())

    def __len__(self) -> int:
        return len(self.runs())

    def runs(self) -> list[str]:
        """The names of the runs, in alphabetical order; those that are damaged are among them."""
        return list_runs(self._latest())

    def contents(self) -> dict[str, dict[str, Any] | LayerwiseError]:
        """By name what is in every run: ``model``, ``epochs``, ``layers``, ``splits`` and ``metrics``.

        For a run that is damaged it is the error that says so. Values are not read, so that thousands of runs take a
        moment.
        """
        return list_contents(self._latest())

    def damage(self, run: str) -> LayerwiseError | None:
        """Read every value of a run; the error that says what is damaged, or None.

        Raises
        ------
        UnknownName
            If there is no such run.
        """
        source = self._known(run)
        try:
            read.open_run(source, run).load()
            read.read_attributes(source, run)
        except LayerwiseError as error:
            return error
        return None

    def tree(self) -> xr.DataTree:
        """All runs as one tree, opened lazily; the slashes in a run's name are its path.

        A run that is damaged is left out, and one line says so.
        """
        opened = {}
        for run in self:
            try:
                opened[run] = self[run]
            except NotReadable as error:
                logger.warning("%s", error)
        return xr.DataTree.from_dict(opened)

    def write(self, dataset: xr.Dataset, run: str, *, overwrite: bool = False) -> None:
        """Write epochs of a run: the first write makes the run, later ones append, all or nothing.

        The attributes of the run, and of its variables, are those of its first write. What the attributes of
        a later write say otherwise (seconds, sample counts, seed) is kept epoch by epoch: see `attributes`.

        Each write leaves a description of all runs, of which `history` is made. In a folder the oldest are deleted once
        all take 16 MB and 16 times the newest.

        Parameters
        ----------
        dataset : Dataset
            A profile, with the same variables, layers, splits, targets and classes as what the run has. Epochs may come
            in any order.
        run : str
            Name of the run; slashes make a tree, as in ``"resnet18/seed0"``.
        overwrite : bool
            Whether to replace epochs that are already there.

        Raises
        ------
        EpochExists
            If an epoch is already there and `overwrite` is false.
        SchemaMismatch
            If the Dataset is not a profile, or differs from what the run has; the message says in what.
        InvalidRun
            If the name cannot be used, or lies inside another run.
        NotWritable
            If the disk is full or read-only; the store is then as it was before.
        """
        prepared = write.prepare(dataset, run)
        epochs = prepared["epoch"].values.tolist()

        def change(target: SealedStore) -> None:
            write.write_run(target, run, prepared, overwrite=overwrite)

        self._commit(change, f"{run}: {_name_epochs(epochs)}", run=run, epochs=epochs)

    def replace(self, dataset: xr.Dataset, run: str) -> None:
        """Write a run anew: whatever it had before is gone, in the same transaction; raises as `write`."""
        prepared = write.prepare(dataset, run)
        epochs = prepared["epoch"].values.tolist()

        def change(target: SealedStore) -> None:
            if read.is_run(target, run):
                write.delete_run(target, run)
            write.write_run(target, run, prepared, overwrite=False)

        self._commit(change, f"{run}: anew, {_name_epochs(epochs)}", run=run, epochs=epochs)

    def check(self, run: str) -> None:
        """Find out, before anything is measured, that a run can have this name.

        Raises
        ------
        InvalidRun
            If the name cannot be used, lies inside another run, or has others below it.
        """
        write.check_name(run)
        if run not in self:
            write.check_surroundings(self._latest(), run)

    def delete(self, run: str) -> None:
        """Delete a run; its space is free after the next `compact`."""
        self._known(run)
        self._commit(lambda target: write.delete_run(target, run), f"{run}: deleted", run=run, epochs=[])

    def attributes(self, run: str) -> pd.DataFrame:
        """What the attributes of a run's writes say differently, one row an epoch, one column an attribute.

        Attributes that every write agreed on are not repeated here; they are ``store[run].attrs``. An attribute
        that a write lacked is None.
        """
        return read.read_attributes(self._known(run), run)

    def keep_result(self, dataset: xr.Dataset, name: str) -> None:
        """Keep a Dataset of any dims, whole: what was made of runs, or of none, such as one seed of a study.

        What had this name is replaced. Results are not among `runs`; their variables need to say nothing of themselves.

        Raises
        ------
        InvalidRun
            If the name cannot be used, or is that of a run or of something inside one.
        NotWritable
            If the disk is full or read-only; the store is then as it was before.
        """
        self.check(name)
        if name in self:
            raise write.InvalidRun(f"no result can be called {name!r}: it is a run")

        def change(target: SealedStore) -> None:
            results.write_result(target, name, dataset)

        self._commit(change, f"{name}: result", run=name, epochs=[])

    def result(self, name: str) -> xr.Dataset:
        """What `keep_result` kept, loaded.

        Raises
        ------
        UnknownName
            If there is no such result.
        """
        if not self.has_result(name):
            raise UnknownName("result", name, [])
        return results.read_result(self._latest(), name)

    def has_result(self, name: str) -> bool:
        """Whether there is a result of this name."""
        return results.is_result(self._latest(), name)

    def history(self) -> pd.DataFrame:
        """Every write and deletion, oldest first: ``when``, ``run``, ``epochs``, ``message``.

        The oldest are forgotten by `compact`, and by writes to a large store in a folder: see `write`.
        """
        with reading(f"the history of the store {self.place}"):
            commits = [item for item in self._ancestry() if "run" in item.metadata]
        rows = [(item.written_at, item.metadata["run"], item.metadata["epochs"], item.message) for item in commits]
        return pd.DataFrame(rows[::-1], columns=["when", "run", "epochs", "message"])

    def compact(self, keep: timedelta = timedelta(days=1)) -> int:
        """Give back the space of what newer writes replaced, and forget that part of `history`.

        A write replaces the last chunk of every variable and leaves the old one to whoever is still reading
        it, so a long run takes many times its size until it is compacted. No profile and none of `attributes`
        changes.

        Parameters
        ----------
        keep : timedelta
            What was replaced less than this ago stays, as far as `history` goes back, for those who have it open.
            Where no lock tells who is writing, as in S3, it is an hour at least: what is being written is not to be
            taken for what nobody needs.

        Returns
        -------
        int
            Bytes given back.

        Raises
        ------
        NotWritable
            If the storage refuses, or others write and compact all the time.
        """
        before = datetime.now(UTC) - (max(keep, _LEAST_KEPT) if self._folder is None else keep)
        with self._writing("compacted in"):
            for left in reversed(range(_COMPACTIONS)):
                # A repository may have snapshots in memory that others have changed.
                repository = self._repository.reopen()
                try:
                    repository.expire_snapshots(older_than=before)
                    return int(repository.garbage_collect(before).bytes_deleted)
                except icechunk.IcechunkError:
                    # Without a lock another may have deleted what this was about to look at.
                    if not left:
                        raise
                time.sleep(random.uniform(0, _PAUSE))
        return 0

    def _ancestry(self) -> list[icechunk.SnapshotInfo]:
        """All snapshots, newest first; read anew if another forgets the oldest of them meanwhile."""
        for left in reversed(range(_READINGS)):
            try:
                # A repository may have snapshots in memory that others have changed.
                return list(self._repository.reopen().ancestry(branch=BRANCH))
            except icechunk.IcechunkError:
                if not left:
                    raise
        return []

    def _latest(self) -> SealedStore:
        with reading(f"the store {self.place}"):
            newest = self._repository.lookup_branch(BRANCH)
            # Readers of a snapshot have a repository of their own, whose memory holds it when its file is gone; it is
            # the one that may have read it already.
            known, repository = self._reader
            if known != newest:
                repository, self._repository = self._repository, self._repository.reopen()
                self._reader = (newest, repository)
            session = repository.readonly_session(snapshot_id=newest)
        return self._sealed(session)

    def _sealed(self, session: icechunk.Session) -> SealedStore:
        return SealedStore(session.store, self.place, seals=self._seals)

    def _known(self, run: str) -> SealedStore:
        latest = self._latest()
        if not isinstance(run, str) or not read.is_run(latest, run):
            raise UnknownName("run", run, list_runs(latest))
        return latest

    @contextlib.contextmanager
    def _writing(self, what: str = "written to") -> Iterator[None]:
        """Hold the lock, and put what the storage says in plain words."""
        try:
            with self._lock:
                yield
        except BaseException as error:
            if not is_failure(error, OSError, icechunk.IcechunkError):
                raise
            raise NotWritable(f"nothing was {what} {self.place}, it is as it was: {reason(error)}") from error

    def _commit(self, change: Callable[[SealedStore], None], message: str, *, run: str, epochs: list[object]) -> None:
        """Make a change and commit it; start anew if another writer changed the same arrays or groups meanwhile."""
        for _ in range(_ATTEMPTS):
            with self._writing():
                session = self._repository.writable_session(BRANCH)
                change(self._sealed(session))
                try:
                    newest = session.commit(
                        message, {"run": run, "epochs": epochs}, rebase_with=icechunk.ConflictDetector()
                    )
                except (icechunk.ConflictError, icechunk.RebaseFailedError):
                    continue
                except icechunk.IcechunkError:
                    # Where another compacted, what was committed since cannot be told, and is written upon.
                    if self._repository.lookup_branch(BRANCH) == session.snapshot_id:
                        raise
                    continue
                self._forget_old_snapshots(newest)
                return
        raise NotWritable(f"nothing was written to {self.place}: {_ATTEMPTS} times another writer was faster")

    def _forget_old_snapshots(self, newest: str) -> None:
        """Keep what snapshots take in proportion, in a folder; what was written is there even if this fails."""
        if self._folder is None:
            return
        try:
            forget_old_snapshots(self._repository.reopen(), self._folder, newest)
        except BaseException as error:
            if not is_failure(error, OSError, icechunk.IcechunkError):
                raise
            logger.debug("old snapshots stay in %s: %s", self.place, reason(error))


def _name_epochs(epochs: list[object]) -> str:
    return f"epoch {epochs[0]}" if len(epochs) == 1 else f"{len(epochs)} epochs, {epochs[0]} to {epochs[-1]}"
