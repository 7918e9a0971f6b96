"""Old snapshots of a store in a folder: each describes all runs, so that all would take the square of their number."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import icechunk

__all__ = ["forget_old_snapshots"]

# Snapshots may take so many times the newest of them, and so many bytes at least; what is beyond is forgotten down to
# half of that, so that it happens rarely.
_TIMES = 16
_LEAST_BYTES = 2**24

# Who opens a store finds out which snapshot is the newest, and reads it a moment later.
_LEAST_KEPT = timedelta(seconds=10)


def forget_old_snapshots(repository: icechunk.Repository, folder: Path, newest: str) -> None:
    """Delete the oldest snapshots where all together take many times the newest; the caller holds the store's lock.

    What the runs consist of stays, also what was replaced; the history becomes shorter. A kill in between leaves files
    that nothing names, which the next call deletes.

    Parameters
    ----------
    repository : icechunk.Repository
        The repository, not asked before: it may have snapshots in memory that others have changed.
    folder : path
        Where the store lies.
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
    """When the oldest was written of the newest snapshots that take so many bytes together."""
    total, since = 0, datetime.now(UTC)
    for snapshot in repository.ancestry(snapshot_id=newest):
        total += sizes.get(snapshot.id, 0)
        if total > limit:
            break
        since = snapshot.written_at
    return since


def _named(repository: icechunk.Repository) -> Iterator[str]:
    """The snapshots of all branches and tags."""
    for branch in repository.list_branches():
        yield from (snapshot.id for snapshot in repository.ancestry(branch=branch))
    for tag in repository.list_tags():
        yield from (snapshot.id for snapshot in repository.ancestry(tag=tag))
