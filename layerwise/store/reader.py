"""The half of a store that reads: runs by name, each lazily; what is in them, their log and the history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import xarray as xr

from layerwise.errors import LayerwiseError, UnknownName
from layerwise.runtime.progress import logger
from layerwise.store import read, results
from layerwise.store.failures import NotReadable
from layerwise.store.listing import list_contents, list_runs
from layerwise.store.sealed import SealedStore
from layerwise.store.transactions import Transactions

__all__ = ["StoreReader"]


class StoreReader:
    """What `Store` can read.

    Parameters
    ----------
    transactions : Transactions
        The sessions of the store's repository.
    """

    def __init__(self, transactions: Transactions) -> None:
        self.place = transactions.place
        self._transactions = transactions

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place!r})"

    def __getitem__(self, run: str) -> xr.Dataset:
        """Open a run lazily, its epochs in ascending order.

        Raises
        ------
        UnknownName
            If there is no such run.
        NotReadable
            If the run is damaged or out of reach; later reads of its values may raise it too.
        SchemaMismatch
            If the run was written by a newer layerwise.
        """
        return read.open_run(self._source_of(run), run)

    def __contains__(self, run: object) -> bool:
        return isinstance(run, str) and read.is_run(self._transactions.latest(), run)

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs())

    def __len__(self) -> int:
        return len(self.runs())

    def runs(self) -> list[str]:
        """Return the names of the runs in alphabetical order, damaged ones included."""
        return list_runs(self._transactions.latest())

    def contents(self) -> dict[str, dict[str, Any] | LayerwiseError]:
        """Return what is in every run, by name: ``model``, ``epochs``, ``layers``, ``splits`` and ``metrics``.

        A damaged run has its error instead. Values are not read, so that thousands of runs take a moment.
        """
        return list_contents(self._transactions.latest())

    def damage(self, run: str) -> LayerwiseError | None:
        """Read every value of a run, and return the error that names the damage, or None.

        Raises
        ------
        UnknownName
            If there is no such run.
        """
        source = self._source_of(run)
        try:
            read.open_run(source, run).load()
            read.read_attributes(source, run)
        except LayerwiseError as error:
            return error
        return None

    def tree(self) -> xr.DataTree:
        """Return all runs as one tree, opened lazily; the slashes in a run's name are its path.

        A damaged run is left out, and logged in one line.
        """
        opened = {}
        for run in self:
            try:
                opened[run] = self[run]
            except NotReadable as error:
                logger.warning("%s", error)
        return xr.DataTree.from_dict(opened)

    def attributes(self, run: str) -> pd.DataFrame:
        """Return the attributes in which the writes of a run differ: one row an epoch, one column an attribute.

        Attributes on which all writes agree are in ``store[run].attrs``. An attribute that a write lacked is None.
        """
        return read.read_attributes(self._source_of(run), run)

    def result(self, name: str) -> xr.Dataset:
        """Load a Dataset that `Store.keep_result` wrote.

        Raises
        ------
        UnknownName
            If there is no such result.
        """
        if not self.has_result(name):
            raise UnknownName("result", name, [])
        return results.read_result(self._transactions.latest(), name)

    def has_result(self, name: str) -> bool:
        """Whether there is a result of this name."""
        return results.is_result(self._transactions.latest(), name)

    def history(self) -> pd.DataFrame:
        """Return every write and deletion, oldest first: ``when``, ``run``, ``epochs``, ``message``.

        `Store.compact` forgets the oldest of them, and so do writes to a large store in a folder: see `Store.write`.
        """
        rows = [
            (snapshot.written_at, snapshot.metadata["run"], snapshot.metadata["epochs"], snapshot.message)
            for snapshot in self._transactions.history()
        ]
        return pd.DataFrame(rows[::-1], columns=["when", "run", "epochs", "message"])

    def _source_of(self, run: str) -> SealedStore:
        """Open the newest snapshot, and check that it has a run."""
        latest = self._transactions.latest()
        if not isinstance(run, str) or not read.is_run(latest, run):
            raise UnknownName("run", run, list_runs(latest))
        return latest
