"""A profile that was killed goes on: what its passes accumulated, in a folder, shard by shard of the data."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData, LayerwiseError
from layerwise.passes.batches_seen import BatchesSeen
from layerwise.runtime.checksummed_files import Damaged, is_whole, read_sealed, seal_of, write_sealed
from layerwise.runtime.distributed import all_gather, is_secondary_process, rank_and_world_size
from layerwise.runtime.lock import FolderLock
from layerwise.runtime.progress import logger
from layerwise.statistics import State

__all__ = ["DoesNotFit", "Resumable", "ResumeState", "resume_folder"]

# Saving takes at most about this share of the time.
_SHARE = 0.05
_HEADER = "profile.json"
_OURS = ("profile.json*", "*.pt", "*.draft", "* features")


class DoesNotFit(LayerwiseError):
    """What is kept is not of the data, the network or the settings at hand, or is damaged; it is to be thrown away."""


def resume_folder(store: str, run: str) -> Path:
    """Where what is not finished waits: beside a local store, for any other in the cache of the user."""
    place = store.removeprefix("file://")
    beside = (
        Path("~/.cache/layerwise/partial").expanduser() / place.replace("/", "-") if "://" in place else Path(place)
    )
    if beside.name in ("", ".."):
        # The folder of the moment, or one above it, has a name all the same.
        beside = beside.resolve()
    return beside.with_name(f"{beside.name}.partial") / run


class Resumable(Protocol):
    """A pass, whose accumulated state is saved."""

    def state(self) -> State:
        """What was accumulated so far."""

    def restore(self, state: State) -> None:
        """Go on from there."""


class ResumeState:
    """Keeps what a profile has accumulated so far, until it is finished.

    What goes on from a saved state takes in the same batches in the same order as what was never stopped, so that its
    numbers are the same to the last bit (as far as the network's own forward is). Data, network and files are checked:
    what does not fit is begun anew, and one line says why. Processes that share the data have a part of the folder
    each.

    A context manager, within which no other process can use the folder; a measurement enters it by itself.

    Parameters
    ----------
    folder : path
        It is gone when the profile is finished, or where nothing was kept.
    every : float
        Seconds between two states, more where to save one takes long; 0 saves after every batch.

    Attributes
    ----------
    features : dict or None
        What the network made of the first batch (`layerwise.passes.first_features`); None until it is known.
    """

    def __init__(self, folder: str | os.PathLike[str], every: float = 60.0) -> None:
        self.folder = Path(folder)
        self.every = every
        self.features: dict[str, Any] | None = None
        self._lock: FolderLock | None = None
        self._entered = 0
        self._waited = time.monotonic()
        self._pause = every
        self._shared = False
        self._checked = False
        self._identity: dict[str, Any] = {}
        self._plan: dict[str, Any] = {}
        self._seals: dict[str, Any] = {}
        self._proven: dict[str, Tensor] = {}

    def __enter__(self) -> ResumeState:
        """Lock the folder.

        Raises
        ------
        InUse
            If another profile is writing to it.
        InvalidData
            If it is a file, or holds what no profile wrote.
        """
        if not self._entered:
            self._lock = FolderLock(self.folder, self._own.name)
            self._lock.acquire()
        self._entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._entered -= 1
        if not self._entered and self._lock is not None:
            self._lock.release()

    def begin(self, identity: Mapping[str, Any], plan: Mapping[str, Any], *, shared: bool = False) -> dict[str, Any]:
        """Begin a profile, or go on with one.

        Parameters
        ----------
        identity : mapping
            What is measured, and on what, as plain data: a state of anything else is thrown away.
        plan : mapping
            How it is to be measured.
        shared : bool
            Whether several processes share the data: then all of them go on, or none.

        Returns
        -------
        dict
            The plan of the profile that goes on, which may have been made with other memory at hand.
        """
        self._waited, self._pause = time.monotonic(), self.every
        self._shared, self._checked, self._proven = shared, False, {}
        self._identity = json.loads(json.dumps({**identity, "processes": rank_and_world_size()[1]}))
        kept, problem = self._kept()
        every = all_gather((kept, problem), shared)
        problem = next((problem for _, problem in every if problem), "")
        if problem or kept is None:
            self.begin_anew(problem)
        else:
            logger.info("going on with the profile in %s", self.folder)
            self.features, self._seals = kept["features"], kept["files"]
        plans = [] if problem else [kept["plan"] for kept, _ in every if kept is not None]
        self._plan = dict(plans[0] if plans else plan)
        return self._plan

    def begin_anew(self, reason: str = "") -> None:
        """Throw away what is kept; a reason is told."""
        if reason and not (self._shared and is_secondary_process()):
            logger.warning("%s: begun anew", reason)
        shutil.rmtree(self._own, ignore_errors=True)
        self.features, self._seals = None, {}

    def feature_folder(self, split: str) -> Path:
        """The folder for the features of a split."""
        return self._own / quote(f"{split} features", safe=" ")

    def resumed(
        self,
        split: str,
        step: str,
        batches: Iterable[Batch],
        holder: Resumable,
        *,
        beforehand: int = 0,
        changed: Callable[[Batch], list[str]] | None = None,
    ) -> Iterator[tuple[int, Batch]]:
        """Bring `holder` to where it was, and give the batches that it has not taken in, with their numbers.

        The batches that it has are read again, up to where it goes on, and compared with what they were. It is saved
        between the others and at the end.

        Parameters
        ----------
        split, step : str
            Names of the split and of the pass over it.
        batches : iterable of Batch
        holder : Holder
        beforehand : int
            Digest of what was known of the split before the pass, such as all of its labels.
        changed : callable, optional
            Gives the layers that the network makes other features of, from the first batch.

        Raises
        ------
        DoesNotFit
            If the batches, the network or the files are not what they were; in all processes that share the data.
        """
        name = f"{split} {step}"
        saved = self._load(name)
        iterator = iter(batches)
        problem = ""
        if saved is not None:
            seen = BatchesSeen(saved["seen"])
            problem = self._other_data(split, iterator, seen, saved, beforehand, changed)
            problem = problem or _restore(holder, saved["state"])
        problem = next(filter(None, all_gather(problem, self._shared)), "")
        if problem:
            raise DoesNotFit(problem)
        if saved is None:
            return self._rest(split, name, iterator, holder, BatchesSeen(), beforehand)
        if saved["complete"]:
            self._proven[split] = saved["seen"]
            return iter(())
        return self._rest(split, name, iterator, holder, seen, beforehand)

    def remove(self) -> None:
        """Throw everything away: the profile is finished."""
        shutil.rmtree(self._own, ignore_errors=True)
        if not is_secondary_process():
            # Left by more processes than there are now.
            for part in self.folder.glob("process*"):
                number = part.name.removeprefix("process").removesuffix(".lock")
                if number.isdigit() and int(number) >= rank_and_world_size()[1]:
                    shutil.rmtree(part) if part.is_dir() else part.unlink()
        # The folder stays while it is locked, and while another process is not that far.
        with suppress(OSError):
            self.folder.rmdir()

    @property
    def _own(self) -> Path:
        """The part of this process; how many there are may be settled after the folder is."""
        return self.folder / f"process{rank_and_world_size()[0]}"

    def _kept(self) -> tuple[dict[str, Any] | None, str]:
        """What is kept of this profile, if anything; or why it is of no use."""
        header = self._own / _HEADER
        if self._own.is_dir():
            self._refuse_what_is_not_ours()
        if not header.exists():
            return None, ""
        try:
            kept: dict[str, Any] = read_sealed(header)
        except Damaged as error:
            return None, str(error)
        asked, has = self._identity, kept["identity"]
        differing = sorted(key for key in asked if has.get(key) != asked[key])
        if differing:
            return None, f"what is in {self.folder} is of another profile ({', '.join(differing)})"
        damaged = [seal["file"] for seal in kept["files"].values() if not is_whole(self._own, seal)]
        return (None, f"{self._own / damaged[0]} is damaged, cut short or gone") if damaged else (kept, "")

    def _refuse_what_is_not_ours(self) -> None:
        foreign = [item.name for item in self._own.iterdir() if not any(item.match(form) for form in _OURS)]
        if foreign:
            raise InvalidData(
                f"{self._own} holds {foreign[0]!r}, which no profile wrote, and would be emptied; give another folder"
            )

    def _other_data(
        self,
        split: str,
        batches: Iterator[Batch],
        seen: BatchesSeen,
        saved: Mapping[str, Any],
        beforehand: int,
        changed: Callable[[Batch], list[str]] | None,
    ) -> str:
        """Read the batches that were taken in, and say what is not as it was; nothing if all is."""
        if saved["beforehand"] != beforehand:
            return f"the labels of split {split!r} are not what they were in the profile in {self.folder}"
        known = self._proven.get(split)
        if saved["complete"] and known is not None and torch.equal(known, saved["seen"]):
            # The pass before took in the same batches, and they were the same now.
            return ""
        for number in range(len(seen)):
            batch = next(batches, None)
            if difference := seen.difference(number, batch):
                return self._not_what_it_was(split, difference)
            if number == 0 and batch is not None and changed is not None and not self._checked:
                self._checked = True
                if layers := changed(batch):
                    more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
                    return (
                        f"the network makes other features of the same inputs (layer {layers[0]!r}{more}) than in the "
                        f"profile in {self.folder}"
                    )
        if saved["complete"] and (difference := seen.difference(len(seen), next(batches, None))):
            return self._not_what_it_was(split, difference)
        return ""

    def _not_what_it_was(self, split: str, difference: str) -> str:
        return f"split {split!r} is not what it was in the profile in {self.folder} ({difference})"

    def _rest(
        self, split: str, name: str, batches: Iterator[Batch], holder: Resumable, seen: BatchesSeen, beforehand: int
    ) -> Iterator[tuple[int, Batch]]:
        for number, batch in enumerate(batches, len(seen)):
            seen.add(batch)
            yield number, batch
            if self._due():
                self._save(name, holder, seen, beforehand, complete=False)
        self._proven[split] = seen.rows
        if self._due() or (math.isfinite(self._pause) and self._seals):
            self._save(name, holder, seen, beforehand, complete=True)

    def _due(self) -> bool:
        return time.monotonic() - self._waited >= self._pause

    def _save(self, name: str, holder: Resumable, seen: BatchesSeen, beforehand: int, *, complete: bool) -> None:
        started = time.monotonic()
        old = self._seals.get(name)
        # Not in place of the last one, which counts until the header names this one.
        file = self._own / f"{quote(name, safe=' ')}.{0 if old is None or old['file'].endswith('.1.pt') else 1}.pt"
        try:
            self._own.mkdir(parents=True, exist_ok=True)
            held = {"state": holder.state(), "seen": seen.rows, "beforehand": beforehand, "complete": complete}
            torch.save(held, file)
            seals = {**self._seals, name: seal_of(file)}
            content = {"identity": self._identity, "plan": self._plan, "features": self.features, "files": seals}
            write_sealed(self._own / _HEADER, content)
            self._seals = seals
            if old is not None:
                (self._own / old["file"]).unlink(missing_ok=True)
        except (OSError, RuntimeError) as error:
            # A profile that cannot be interrupted is better than none.
            logger.warning("nothing more is kept in %s for a profile that is interrupted: %s", self.folder, error)
            self._pause = math.inf
            return
        self._waited = time.monotonic()
        self._pause = max(self.every, (self._waited - started) / _SHARE) if self.every else 0.0

    def _load(self, name: str) -> dict[str, Any] | None:
        if name not in self._seals:
            return None
        file = self._own / self._seals[name]["file"]
        loaded: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        return loaded


def _restore(holder: Resumable, state: State) -> str:
    """Bring a pass to its state; says which of its files are damaged."""
    try:
        holder.restore(state)
    except Damaged as error:
        return str(error)
    return ""
