"""The store itself: runs by name, each read lazily and written in one transaction."""

from __future__ import annotations

from datetime import timedelta

import xarray as xr

from layerwise.store import read, results, write
from layerwise.store.reader import StoreReader
from layerwise.store.sealed import SealedStore

__all__ = ["Store"]


class Store(StoreReader):
    """Many runs in one place, each a profile that grows along ``epoch``; made by `open_store`.

    ``store[run]`` reads a run, ``run in store``, ``len(store)`` and iteration go over the runs' names. Every
    read sees the last complete write, and keeps seeing it while others write.
    """

    def write(self, dataset: xr.Dataset, run: str, *, overwrite: bool = False) -> None:
        """Write epochs of a run, all or nothing: the first write makes the run, later ones append.

        The attributes of the run, and of its variables, are those of its first write. Where a later write has other
        attributes (seconds, sample counts, seed), they are logged epoch by epoch: see `attributes`.

        Each write adds a snapshot that describes all runs; `history` is read from the snapshots. In a folder the
        oldest are deleted once all together take 16 MB and 16 times the newest.

        Parameters
        ----------
        dataset : Dataset
            A profile with the same variables, layers, splits, targets and classes as the run. Epochs may come in any
            order.
        run : str
            Name of the run; slashes make a tree, as in ``"resnet18/seed0"``.
        overwrite : bool
            Whether to replace epochs that the run already has.

        Raises
        ------
        EpochExists
            If the run already has an epoch and `overwrite` is false.
        SchemaMismatch
            If the Dataset is not a profile, or differs from the run; the message names the differences.
        InvalidRun
            If the name cannot be used, or lies inside another run.
        NotWritable
            If the disk is full or read-only; the store is then as it was before.
        """
        prepared = write.prepare(dataset, run)
        epochs = prepared["epoch"].values.tolist()

        def change(target: SealedStore) -> None:
            write.write_run(target, run, prepared, overwrite=overwrite)

        self._transactions.commit(change, f"{run}: {_epochs_text(epochs)}", run=run, epochs=epochs)

    def replace(self, dataset: xr.Dataset, run: str) -> None:
        """Write a run anew, and delete what it had before in the same transaction; raises as `write`."""
        prepared = write.prepare(dataset, run)
        epochs = prepared["epoch"].values.tolist()

        def change(target: SealedStore) -> None:
            if read.is_run(target, run):
                write.delete_run(target, run)
            write.write_run(target, run, prepared, overwrite=False)

        self._transactions.commit(change, f"{run}: anew, {_epochs_text(epochs)}", run=run, epochs=epochs)

    def check(self, run: str) -> None:
        """Check, before anything is measured, that a run can have this name.

        Raises
        ------
        InvalidRun
            If the name cannot be used, lies inside another run, or has others below it.
        """
        write.check_name(run)
        if run not in self:
            write.check_surroundings(self._transactions.latest(), run)

    def delete(self, run: str) -> None:
        """Delete a run; its space is free after the next `compact`."""
        self._source_of(run)
        self._transactions.commit(lambda target: write.delete_run(target, run), f"{run}: deleted", run=run, epochs=[])

    def keep_result(self, dataset: xr.Dataset, name: str) -> None:
        """Write a Dataset of any dims, whole: one that was derived from runs, or one seed of a study.

        A result of the same name is replaced. Results are not among `runs`; their variables need no attributes.

        Raises
        ------
        InvalidRun
            If the name cannot be used, or is that of a run or lies inside one.
        NotWritable
            If the disk is full or read-only; the store is then as it was before.
        """
        self.check(name)
        if name in self:
            raise write.InvalidRun(f"no result can be called {name!r}: it is a run")

        def change(target: SealedStore) -> None:
            results.write_result(target, name, dataset)

        self._transactions.commit(change, f"{name}: result", run=name, epochs=[])

    def compact(self, keep: timedelta = timedelta(days=1)) -> int:
        """Free the space of data that newer writes replaced, and forget that part of `history`.

        A write replaces the last chunk of every variable and leaves the old one to whoever is still reading it, so
        that a long run takes many times its size until it is compacted. Profiles and `attributes` stay as they are.

        Parameters
        ----------
        keep : timedelta
            Data that was replaced less than this ago stays for its readers, as far back as `history` goes. Without a
            lock on writers, as in S3, it is an hour at least, so that a write that is not yet committed is not deleted.

        Returns
        -------
        int
            Bytes freed.

        Raises
        ------
        NotWritable
            If the storage refuses, or others write and compact all the time.
        """
        return self._transactions.compact(keep)


def _epochs_text(epochs: list[object]) -> str:
    return f"epoch {epochs[0]}" if len(epochs) == 1 else f"{len(epochs)} epochs, {epochs[0]} to {epochs[-1]}"
