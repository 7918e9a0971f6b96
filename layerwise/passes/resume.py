"""A profile that was killed goes on: the state of its passes is saved in a folder, while the data goes by."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from layerwise.adapters.protocol import Batch
from layerwise.errors import LayerwiseError
from layerwise.passes.batches_seen import BatchesSeen
from layerwise.passes.data_comparison import DataComparison
from layerwise.passes.save_schedule import SaveSchedule
from layerwise.passes.state_files import StateFiles
from layerwise.runtime.checksummed_files import Damaged
from layerwise.runtime.distributed import all_gather, is_secondary_process, rank_and_world_size
from layerwise.runtime.lock import FolderLock
from layerwise.runtime.progress import logger
from layerwise.statistics import State

__all__ = ["DoesNotFit", "Resumable", "ResumeState", "resume_folder"]


class DoesNotFit(LayerwiseError):
    """The saved state is of other data, another network or other settings, or is damaged; begin anew."""


def resume_folder(store: str, run: str) -> Path:
    """Return where an unfinished profile is kept: next to a local store, for any other in the user's cache."""
    place = store.removeprefix("file://")
    remote = "://" in place
    folder = Path("~/.cache/layerwise/partial").expanduser() / place.replace("/", "-") if remote else Path(place)
    if folder.name in ("", ".."):
        # The working directory, or one above it, has a name all the same.
        folder = folder.resolve()
    return folder.with_name(f"{folder.name}.partial") / run


class Resumable(Protocol):
    """A pass, whose accumulated state is saved."""

    def state(self) -> State:
        """Return what was accumulated so far."""

    def restore(self, state: State) -> None:
        """Go on from a state."""


@dataclass(frozen=True)
class _Pass:
    """One pass over a split, with what was known of the split before it."""

    split: str
    step: str
    resumable: Resumable
    beforehand: int

    @property
    def name(self) -> str:
        return f"{self.split} {self.step}"

    def content(self, seen: BatchesSeen, *, complete: bool) -> dict[str, Any]:
        """Return what is saved of the pass, which has taken in these batches."""
        state = self.resumable.state()
        return {"state": state, "seen": seen.rows, "beforehand": self.beforehand, "complete": complete}


class _Lock:
    """Locks the part of a folder that belongs to this process, once, however often it is entered."""

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._lock: FolderLock | None = None
        self._entered = 0

    def enter(self) -> None:
        """Lock the folder unless it is locked."""
        if not self._entered:
            self._lock = FolderLock(self._files.folder, self._files.part.name)
            self._lock.acquire()
        self._entered += 1

    def leave(self) -> None:
        """Unlock the folder if nothing else has entered it."""
        self._entered -= 1
        if not self._entered and self._lock is not None:
            self._lock.release()


class ResumeState:
    """Saves what a profile has accumulated so far, until it is finished.

    A profile that goes on takes in the same batches in the same order as one that was never stopped, so that its
    numbers are the same to the last bit (as far as the network's own forward is). Data, network and files are checked:
    what does not fit is begun anew, and one line of the log says why. Processes that share the data have a part of the
    folder each.

    A context manager, within which no other process can use the folder; a measurement enters it by itself.

    Parameters
    ----------
    folder : path
        It is removed when the profile is finished, or where nothing was saved.
    every : float
        Seconds between two states, more where saving takes long; 0 saves after every batch.

    Attributes
    ----------
    features : dict or None
        Sums of the first batch's features (`layerwise.passes.first_features`); None until they are known.
    """

    def __init__(self, folder: str | os.PathLike[str], every: float = 60.0) -> None:
        self.folder = Path(folder)
        self.features: dict[str, Any] | None = None
        self._files = StateFiles(self.folder)
        self._schedule = SaveSchedule(every)
        self._lock = _Lock(self._files)
        self._shared = False
        self._identity, self._plan = dict[str, Any](), dict[str, Any]()
        self._comparison = DataComparison(self.folder)

    def __enter__(self) -> ResumeState:
        """Lock the folder; raise `InUse` if another profile is writing to it, `InvalidData` if it is a file."""
        self._lock.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.leave()

    def begin(self, identity: Mapping[str, Any], plan: Mapping[str, Any], *, shared: bool = False) -> dict[str, Any]:
        """Begin a profile, or go on with one; return its plan, which other free memory may have led to.

        Parameters
        ----------
        identity : mapping
            What is measured, and on what, as plain data: a state with another identity is thrown away.
        plan : mapping
            How it is to be measured.
        shared : bool
            Whether several processes share the data: then all of them go on, or none.
        """
        self._schedule.restart()
        self._shared, self._comparison = shared, DataComparison(self.folder)
        self._identity = json.loads(json.dumps({**identity, "processes": rank_and_world_size()[1]}))
        header, problem = self._files.read_header(self._identity)
        every = all_gather((header, problem), shared)
        problem = next((problem for _, problem in every if problem), "")
        if problem or header is None:
            self.begin_anew(problem)
        else:
            logger.info("going on with the profile in %s", self.folder)
            self.features, self._files.seals = header["features"], header["files"]
        plans = [] if problem else [other["plan"] for other, _ in every if other is not None]
        self._plan = dict(plans[0] if plans else plan)
        return self._plan

    def begin_anew(self, reason: str = "") -> None:
        """Throw the saved state away, and log the reason if there is one."""
        if reason and not (self._shared and is_secondary_process()):
            logger.warning("%s: begun anew", reason)
        self._files.clear()
        self.features = None

    def feature_folder(self, split: str) -> Path:
        """Return the folder for the features of a split."""
        return self._files.features_of(split)

    def resumed(
        self,
        split: str,
        step: str,
        batches: Iterable[Batch],
        resumable: Resumable,
        *,
        beforehand: int = 0,
        changed: Callable[[Batch], list[str]] | None = None,
    ) -> Iterator[tuple[int, Batch]]:
        """Restore a pass, compare the batches that it has taken in, and return the other ones with their numbers.

        The state of the pass is saved between these and at the end.

        Parameters
        ----------
        split, step : str
            Names of the split and of the pass over it.
        batches : iterable of Batch
        resumable : Resumable
        beforehand : int
            Digest of what was known of the split before the pass, such as all of its labels.
        changed : callable, optional
            Returns the layers whose features of the first batch have changed.

        Raises
        ------
        DoesNotFit
            If the batches, the network or the files have changed; in all processes that share the data.
        """
        current = _Pass(split, step, resumable, beforehand)
        saved = self._files.load(current.name)
        seen = BatchesSeen(None if saved is None else saved["seen"])
        iterator = iter(batches)
        problem = ""
        if saved is not None:
            problem = self._comparison.difference(split, iterator, saved, beforehand, changed)
            problem = problem or _restore(resumable, saved["state"])
        problem = next(filter(None, all_gather(problem, self._shared)), "")
        if problem:
            raise DoesNotFit(problem)
        if saved is not None and saved["complete"]:
            self._comparison.proven[split] = saved["seen"]
            return iter(())
        return self._rest(current, iterator, seen)

    def remove(self) -> None:
        """Throw everything away: the profile is finished."""
        self._files.remove()

    def _rest(self, current: _Pass, batches: Iterator[Batch], seen: BatchesSeen) -> Iterator[tuple[int, Batch]]:
        for number, batch in enumerate(batches, len(seen)):
            seen.add(batch)
            yield number, batch
            if self._schedule.due:
                self._save(current, seen, complete=False)
        self._comparison.proven[current.split] = seen.rows
        if self._schedule.due or (not self._schedule.stopped and self._files.seals):
            self._save(current, seen, complete=True)

    def _save(self, current: _Pass, seen: BatchesSeen, *, complete: bool) -> None:
        started = time.monotonic()
        header = {"identity": self._identity, "plan": self._plan, "features": self.features}
        try:
            self._files.save(current.name, current.content(seen, complete=complete), header)
        except (OSError, RuntimeError) as error:
            # A profile that cannot be interrupted is better than none.
            logger.warning("nothing more is kept in %s for a profile that is interrupted: %s", self.folder, error)
            self._schedule.stop()
            return
        self._schedule.saved(started)


def _restore(resumable: Resumable, state: State) -> str:
    """Restore a pass; return which of its files is damaged, if any."""
    try:
        resumable.restore(state)
    except Damaged as error:
        return str(error)
    return ""
