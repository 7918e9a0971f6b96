"""A profile that was killed goes on: what its passes accumulated, in a folder, shard by shard of the data."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import torch

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData
from layerwise.progress import logger
from layerwise.provenance import DataFingerprint
from layerwise.shares import place
from layerwise.statistics import State

__all__ = ["Holder", "Partial", "partial_folder"]

# Saving takes at most about this share of the time.
_SHARE = 0.05
_HEADER = "profile.json"


def partial_folder(store: str, run: str) -> Path:
    """Where what is not finished waits: beside a local store, for any other in the cache of the user."""
    place = store.removeprefix("file://")
    beside = (
        Path("~/.cache/layerwise/partial").expanduser() / place.replace("/", "-") if "://" in place else Path(place)
    )
    return beside.with_name(f"{beside.name}.partial") / run


class Holder(Protocol):
    """A pass, whose accumulated state is saved."""

    def state(self) -> State:
        """What was accumulated so far."""

    def restore(self, state: State) -> None:
        """Go on from there."""


class Partial:
    """Keeps what a profile has accumulated so far, until it is finished.

    What goes on from a saved state takes in the same batches in the same order as what was never stopped, so that its
    numbers are the same to the last bit (as far as the network's own forward is). Processes that share the data have a
    part of the folder each.

    Parameters
    ----------
    folder : path
        It is made when there is something to keep, and gone when the profile is finished.
    every : float
        Seconds between two states, more where to save one takes long; 0 saves after every batch.
    """

    def __init__(self, folder: str | os.PathLike[str], every: float = 60.0) -> None:
        self.folder = Path(folder)
        self.every = every
        self._own = self.folder / f"process{place()[0]}"
        self._waited = time.monotonic()
        self._pause = every
        self._header = ""

    def begin(self, identity: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a profile, or go on with one.

        Parameters
        ----------
        identity : mapping
            What is measured, and on what, as plain data: a state of anything else is thrown away.
        plan : mapping
            How it is to be measured.

        Returns
        -------
        dict
            The plan of the profile that goes on, which may have been made with other memory at hand.
        """
        self._waited = time.monotonic()
        asked = json.loads(json.dumps({**identity, "processes": place()[1]}))
        header = self._own / _HEADER
        if header.exists():
            found = json.loads(header.read_text())
            if found["identity"] == asked:
                logger.info("going on with the profile in %s", self.folder)
                return dict(found["plan"])
            differing = sorted(key for key in asked if found["identity"].get(key) != asked[key])
            logger.info("what is in %s is of another profile (%s): begun anew", self.folder, ", ".join(differing))
            shutil.rmtree(self._own)
        self._header = json.dumps({"identity": asked, "plan": dict(plan)})
        return dict(plan)

    def bank(self, split: str) -> Path:
        """The folder for the features of a split."""
        return self._own / quote(f"{split} features", safe=" ")

    def resumed(self, name: str, batches: Iterable[Batch], holder: Holder) -> Iterator[tuple[int, Batch]]:
        """The batches that `holder` has not taken in, with their numbers; it is saved between them and at the end.

        Raises
        ------
        InvalidData
            If the batches that were taken in before are not the same as then.
        """
        saved = self._load(name)
        done, seen = 0, DataFingerprint()
        if saved is not None:
            holder.restore(saved["state"])
            done = saved["batches"]
            if saved["complete"]:
                return
        number = -1
        for number, batch in enumerate(batches):
            seen.update(batch.inputs, batch.labels)
            if saved is not None and number == done - 1 and seen.total != saved["seen"]:
                raise InvalidData(
                    f"the data is not what it was when the profile in {self.folder} was interrupted, or it comes in "
                    "another order; remove the folder to begin anew"
                )
            if number < done:
                continue
            yield number, batch
            if self._due():
                self._save(name, holder, number + 1, seen, complete=False)
        if self._due() or (math.isfinite(self._pause) and (self._own / _HEADER).exists()):
            self._save(name, holder, number + 1, seen, complete=True)

    def remove(self) -> None:
        """Throw everything away: the profile is finished."""
        shutil.rmtree(self._own, ignore_errors=True)
        # Another process may not be that far.
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _due(self) -> bool:
        return time.monotonic() - self._waited >= self._pause

    def _save(self, name: str, holder: Holder, batches: int, seen: DataFingerprint, *, complete: bool) -> None:
        started = time.monotonic()
        try:
            self._own.mkdir(parents=True, exist_ok=True)
            if not (self._own / _HEADER).exists():
                draft = self._own / f"{_HEADER}.draft"
                draft.write_text(self._header)
                draft.replace(self._own / _HEADER)
            held = {"state": holder.state(), "batches": batches, "seen": seen.total, "complete": complete}
            draft = self._state(name).with_suffix(".draft")
            torch.save(held, draft)
            draft.replace(self._state(name))
        except (OSError, RuntimeError) as error:
            # A profile that cannot be interrupted is better than none.
            logger.warning("nothing more is kept in %s for a profile that is interrupted: %s", self.folder, error)
            self._pause = math.inf
            return
        self._waited = time.monotonic()
        self._pause = max(self.every, (self._waited - started) / _SHARE) if self.every else 0.0

    def _load(self, name: str) -> dict[str, Any] | None:
        if not self._state(name).exists():
            return None
        loaded: dict[str, Any] = torch.load(self._state(name), map_location="cpu", weights_only=True)
        return loaded

    def _state(self, name: str) -> Path:
        return self._own / f"{quote(name, safe=' ')}.pt"
