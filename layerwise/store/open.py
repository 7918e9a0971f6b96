"""Open or make a store: in a local folder, in memory, in S3 or in Google Cloud Storage."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import icechunk
import zarr
from zarr.errors import ContainsGroupError, GroupNotFoundError

from layerwise.arguments import PATH
from layerwise.errors import NotAStore, UnknownName, listed, shown
from layerwise.runtime.temporary_folders import Scratch
from layerwise.store.failures import NotWritable, reading, reason
from layerwise.store.runs import Store
from layerwise.store.sealed import SealedStore
from layerwise.store.transactions import BRANCH, Transactions

__all__ = ["new_or_open", "open_store"]

#: Version of the store's layout, an attribute of its root group. Since version 2 metadata is sealed, and variables of
#: the same dims and type share an array.
VERSION = 2
_MARK = "layerwise_store"

# Words in Icechunk's errors where another process is making a repository or has begun to; how often to look again, and
# the seconds in between.
_BEGUN = ("clean prefixes", "conflict")
_ATTEMPTS = 20
_PAUSE = 0.1

# The longest wait for Icechunk's threads at the end, in seconds.
_SETTLING = 5.0


def open_store(path: str | os.PathLike[str], *, create: bool = True) -> Store:
    """Open a store, or make one where there is none.

    Parameters
    ----------
    path : str or path
        A local folder (usually ``name.lw``), ``memory://`` (a new store at each call), ``s3://bucket/prefix``
        or ``gs://bucket/prefix``. Credentials, region and endpoint of the last two come from the environment,
        as for any other tool (``AWS_REGION``, ``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``).
    create : bool
        Whether to make the store if the path does not exist or is an empty folder.

    Returns
    -------
    Store
        The store.

    Raises
    ------
    NotAStore
        If the path holds something else, or no store and `create` is false.
    NotWritable
        If a store cannot be made there.
    UnknownName
        If the path starts with another scheme.

    Examples
    --------
    >>> open_store("memory://").runs()
    []
    """
    # Icechunk warns that local commits are not serialised, which the lock does, and of failed rebases, after which the
    # write starts anew.
    if "ICECHUNK_LOG" not in os.environ:
        icechunk.set_logs_filter("icechunk::storage::object_store=error,icechunk::session=error,warn")
    _settle_at_exit()
    place = os.fspath(PATH.read("path", path))
    scheme, separator, rest = place.partition("://")
    if not separator or scheme == "file":
        return _open_local(Path(rest if separator else place), create)
    makers: dict[str, Callable[[str], icechunk.Storage]] = {"memory": _memory, "s3": _s3, "gs": _gs}
    if scheme not in makers:
        raise UnknownName("kind of store", f"{scheme}://", [f"{name}://" for name in makers])
    return _open_remote(place, makers[scheme](rest), create)


@functools.cache
def _settle_at_exit() -> None:
    """Delay the end of the interpreter until Icechunk's threads have left it.

    These threads call Python to deliver an answer, and may still be in that call when the waiting code has continued;
    if the interpreter ends meanwhile, the process aborts.
    """
    atexit.register(_settle)


def _settle() -> None:
    """Wait until no thread that Python did not start runs Python code."""
    end = time.monotonic() + _SETTLING
    while time.monotonic() < end:
        started = {thread.ident for thread in threading.enumerate()}
        if not sys._current_frames().keys() - started:
            return
        time.sleep(_SETTLING / 1000)


@contextmanager
def new_or_open(path: str | os.PathLike[str]) -> Iterator[Store]:
    """Open or make a store; delete it again if it is new and an exception leaves it without a run.

    Parameters
    ----------
    path : str or path
        As for `open_store`; a store outside of local folders is not deleted.
    """
    place = Path(os.fspath(PATH.read("path", path)).removeprefix("file://"))
    is_local = "://" not in str(path).removeprefix("file://")
    existing = [item for item in (place, *place.parents) if _exists(item)]
    is_new = is_local and _content(place) is None
    store = open_store(path)
    try:
        yield store
    except BaseException:
        if is_new and not store.runs():
            shutil.rmtree(place, ignore_errors=True)
            with suppress(OSError):
                for item in (place, *place.parents):
                    if item in existing:
                        item.mkdir(exist_ok=True)
                        break
                    item.rmdir() if item.exists() else None
        raise


def _memory(_: str) -> icechunk.Storage:
    return icechunk.in_memory_storage()


def _s3(location: str) -> icechunk.Storage:
    bucket, _, prefix = location.partition("/")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return icechunk.s3_storage(
        bucket=bucket,
        prefix=prefix.strip("/") or None,
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        endpoint_url=endpoint,
        allow_http=bool(endpoint and endpoint.startswith("http://")),
        # Servers other than Amazon's rarely answer to bucket.host names.
        force_path_style=endpoint is not None,
        from_env=True,
    )


def _gs(location: str) -> icechunk.Storage:
    bucket, _, prefix = location.partition("/")
    return icechunk.gcs_storage(bucket=bucket, prefix=prefix.strip("/") or None, from_env=True)


def _open_remote(place: str, storage: icechunk.Storage, create: bool) -> Store:
    repository = _repository(place, storage, create)
    if _version(repository, place) is None and _is_empty(repository, place):
        # The process that makes it was killed, or has not finished.
        if not create:
            raise NotAStore(f"the store at {place} was not made to its end; opening it with create=True finishes it")
        _mark(repository, place)
    return Store(Transactions(repository, place, seals=_check(repository, place) > 1))


def _repository(place: str, storage: icechunk.Storage, create: bool) -> icechunk.Repository:
    """Return the repository at a place, made where there is none; another process may be making it meanwhile."""
    for attempt in range(_ATTEMPTS):
        try:
            if icechunk.Repository.exists(storage):
                return icechunk.Repository.open(storage)
            if not create:
                raise NotAStore(f"there is no store at {place}")
            return icechunk.Repository.create(storage)
        except icechunk.IcechunkError as error:
            problem = error
            if not any(words in str(error) for words in _BEGUN):
                break
            time.sleep(_PAUSE * (attempt < _ATTEMPTS - 1))
    if _BEGUN[0] in str(problem):
        raise NotAStore(
            f"no store can be made at {place}: something is there that is none, such as the beginning of a store whose "
            "maker was killed; empty it or choose another place"
        ) from problem
    raise NotAStore(f"no store can be opened at {place}: {reason(problem)}") from problem


def _open_local(path: Path, create: bool) -> Store:
    # Icechunk makes the folder even to look into it, so its content is read first. That happens before the check for a
    # repository, since another process may be making a store, which appears as a whole.
    content = _content(path)
    if not _looks_like_repository(path):
        if content is not None:
            raise NotAStore(f"{path} is not a layerwise store: it is {content}")
        if not create:
            raise NotAStore(f"there is no store at {path}")
        if Path.cwd().is_relative_to(path.resolve()):
            raise NotAStore(f"no store is made of {path}, the folder that this runs in: name a new one, as runs.lw")
        _make_local(path)
    with reading(f"the store {path}"):
        repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(path)))
    seals = _check(repository, str(path)) > 1
    return Store(Transactions(repository, str(path), seals=seals, lock=path / ".lock"))


def _exists(path: Path) -> bool:
    """Whether a path exists.

    Raises
    ------
    NotAStore
        If no file can have this name, or a folder on the way cannot be read.
    """
    try:
        return path.exists()
    except OSError as error:
        raise NotAStore(f"no store can be opened at {shown(str(path))}: {reason(error)}") from error


def _make_local(path: Path) -> None:
    """Make a store next to `path` and rename it: a kill leaves no store or a whole one, and two makers make one."""
    try:
        with Scratch(path.parent, f".{path.name}.") as draft:
            _mark(icechunk.Repository.create(icechunk.local_filesystem_storage(str(draft))), str(path))
            draft.rename(path)
    except (OSError, icechunk.IcechunkError) as error:
        if not _looks_like_repository(path):
            raise NotWritable(f"no store can be made at {path}: {reason(error)}") from error


def _mark(repository: icechunk.Repository, place: str) -> None:
    """Make an empty repository a store; do nothing if another process was faster."""
    session = repository.writable_session(BRANCH)
    with suppress(FileExistsError, ContainsGroupError, icechunk.ConflictError, icechunk.RebaseFailedError):
        # Not "w", which would delete what another process has written meanwhile.
        zarr.open_group(SealedStore(session.store, place), mode="w-", zarr_format=3).attrs[_MARK] = VERSION
        session.commit("new store")


def _version(repository: icechunk.Repository, place: str) -> int | None:
    """Return the version of a store, or None if the repository is no store."""
    with reading(f"the store {place}"):
        source = SealedStore(repository.readonly_session(BRANCH).store, place, seals=False)
        try:
            version = zarr.open_group(source, mode="r", zarr_format=3).attrs.get(_MARK)
        except GroupNotFoundError:
            version = None
    return version if isinstance(version, int) else None


def _is_empty(repository: icechunk.Repository, place: str) -> bool:
    with reading(f"the store {place}"):
        return len(list(repository.ancestry(branch=BRANCH))) == 1


def _check(repository: icechunk.Repository, place: str) -> int:
    """Return the version; raise `NotAStore` unless the repository is a store and not newer than this layerwise."""
    version = _version(repository, place)
    if version is None:
        raise NotAStore(f"{place} is not a layerwise store: it is an Icechunk repository of something else")
    if version > VERSION:
        raise NotAStore(
            f"the store {place} has version {version}, this layerwise reads up to {VERSION}: upgrade layerwise"
        )
    return version


def _looks_like_repository(path: Path) -> bool:
    return (path / "refs").is_dir() and (path / "snapshots").is_dir()


def _content(path: Path) -> str | None:
    """Describe the content of `path` in a few words; None if it does not exist or is an empty folder."""
    if not _exists(path):
        return None
    if not path.is_dir():
        return f"a file of {path.stat().st_size:,} bytes"
    names = sorted(entry.name for entry in path.iterdir())
    if not names:
        return None
    if {"zarr.json", ".zgroup"} & set(names):
        return "a plain Zarr group (import_profile reads it)"
    return f"a folder with {listed(names, 3)}"
