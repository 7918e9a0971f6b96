"""Delete old snapshots of a store in a folder: each describes all runs, so that their size would grow quadratically."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import icechunk

__all__ = ["forget_old_snapshots"]

# The snapshots may take this many times the newest of them, and at least this many bytes. Beyond that the oldest are
# deleted down to half of the limit, so that it happens rarely.
_TIMES = 16
_LEAST_BYTES = 2**24

# A reader looks up the newest snapshot, and reads it a moment later.
_LEAST_KEPT = timedelta(seconds=10)


def forget_old_snapshots(repository: icechunk.Repository, folder: Path, newest: str) -> None:
    """Delete the oldest snapshots where all together take many times the newest; the caller holds the store's lock.

    The data of the runs stays, replaced data included; the history becomes shorter. A kill in between leaves files that
    no snapshot names, which the next call deletes.

    Parameters
    ----------
    repository : icechunk.Repository
        The repository, newly opened: otherwise it may have snapshots in memory that others have changed.
    folder : path
        The folder of the store.
    newest : str
        The newest snapshot.
    """
    files = {path.name: path for path in (folder / "snapshots").iterdir()}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    limit = max(_TIMES * sizes[newest], _LEAST_BYTES)
    if sum(sizes.values()) <= limit:
        return
    since = _begin_of_kept(repository, sizes, newest, limit // 2)
    repository.expire_snapshots(older_than=min(since, datetime.now(UTC) - _LEAST_KEPT))
    for name in files.keys() - set(_named(repository)):
        files[name].unlink(missing_ok=True)


def _begin_of_kept(repository: icechunk.Repository, sizes: dict[str, int], newest: str, limit: int) -> datetime:
    """Return when the oldest of the snapshots that stay was written: the newest that together take `limit` bytes."""
    total, since = 0, datetime.now(UTC)
    for snapshot in repository.ancestry(snapshot_id=newest):
        total += sizes.get(snapshot.id, 0)
        if total > limit:
            break
        since = snapshot.written_at
    return since


def _named(repository: icechunk.Repository) -> Iterator[str]:
    """Iterate over the snapshots of all branches and tags."""
    for branch in repository.list_branches():
        yield from (snapshot.id for snapshot in repository.ancestry(branch=branch))
    for tag in repository.list_tags():
        yield from (snapshot.id for snapshot in repository.ancestry(tag=tag))
