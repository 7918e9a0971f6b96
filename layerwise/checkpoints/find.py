"""The checkpoints that a pattern names, and their epochs."""

from __future__ import annotations

import glob
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from layerwise.checkpoints.read import SUFFIXES, WHOLE, read_pickle, weight_file, weight_files
from layerwise.errors import InvalidData, UnknownName, listed
from layerwise.runtime.progress import logger
from layerwise.runtime.reading_errors import refusing

__all__ = ["Checkpoint", "find_checkpoints"]

_EPOCH = re.compile(r"(?<![a-z])(?:epochs?|ep)[-_= ]?(\d+(?:\.\d+)?)", re.IGNORECASE)
_STEP = re.compile(r"(?<![a-z])steps?[-_= ]?(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a network at one moment of its training.

    Attributes
    ----------
    path : Path
        A file, or the folder that the training made.
    epoch : int or float
        Epochs done, 0 before the first.
    step : int
        Optimiser steps done; the epoch if the step is not known.
    """

    path: Path
    epoch: float
    step: int

    @property
    def files(self) -> list[Path]:
        """The files with the weights."""
        file = weight_file(self.path)
        return weight_files(file) if file is not None else []

    @property
    def stamp(self) -> str:
        """A text that changes when the weights are written again or copied."""
        states = [file.stat() for file in self.files]
        return " ".join(f"{state.st_size}:{state.st_mtime_ns}" for state in states)


def find_checkpoints(pattern: str | os.PathLike[str]) -> list[Checkpoint]:
    """Find the checkpoints that a pattern names, in the order of their epochs.

    The epoch is read from the ``trainer_state.json`` of transformers, or from a file of Lightning; there, as in
    trackers, 1 means that the first epoch, Lightning's 0, is done. Otherwise it is the number after ``epoch`` in the
    name, or the last number of the name.

    Parameters
    ----------
    pattern : str or path
        A pattern such as ``"runs/seed0/checkpoint-*"`` or ``"weights/epoch_*.safetensors"``, with ``**`` for any depth;
        or a folder of checkpoints.

    Returns
    -------
    list of Checkpoint
        Epochs are all integers, or all floats.

    Raises
    ------
    UnknownName
        If no match has weights.
    InvalidData
        If the epoch of a checkpoint is not known, or two checkpoints are of the same epoch.
    """
    with refusing(f"the checkpoints {os.fspath(pattern)!r:.200} cannot be looked up", OSError):
        matches = _matches(os.path.expanduser(os.fspath(pattern)))
        matches = [_only_adapter(path) for path in matches]
        paths = [path for path in matches if weight_file(path) is not None]
    if not paths:
        raise UnknownName("checkpoint", os.fspath(pattern), _alternatives(pattern, matches), hint=_hint(matches))
    if len(paths) < len(matches):
        without = [str(path) for path in matches if path not in paths]
        logger.info("left out, since they hold no weights, or several: %s", ", ".join(without))
    checkpoints = sorted(map(_checkpoint, paths), key=lambda item: (item.epoch, item.step, str(item.path)))
    _log_other_adapters(paths)
    if checkpoints[0].epoch == 0 and checkpoints[0].step == 0:
        logger.info("%s is taken for the network before its training: epochs are counted when they are done", paths[0])
    for first, second in pairwise(checkpoints):
        if first.epoch == second.epoch:
            raise InvalidData(
                f"{first.path} and {second.path} are both of epoch {first.epoch:g}; one run has one of each: "
                f"{os.fspath(pattern)!r} must name a single training"
            )
    kind = int if all(float(item.epoch).is_integer() for item in checkpoints) else float
    return [replace(item, epoch=kind(item.epoch)) for item in checkpoints]


def _matches(pattern: str) -> list[Path]:
    """Return the paths that may be checkpoints: the matches of a pattern, or a folder or its content."""
    folder = Path(pattern)
    if not folder.exists():
        return sorted(map(Path, glob.glob(pattern, recursive=True)))
    if not folder.is_dir():
        return [folder]
    if _has_epoch(folder) and any(not _has_epoch(item) for item in _adapters(folder)):
        return [folder]
    # The folder of a training may itself have the last weights.
    has_weights = any((folder / name).exists() for name in WHOLE)
    inside = sorted(item for item in folder.iterdir() if item.is_dir() or (not has_weights and weight_file(item)))
    return [folder] if has_weights and not any(map(weight_file, inside)) else inside


def _adapters(folder: Path) -> list[Path]:
    """Return the subfolders in which PEFT saves several adapters."""
    return sorted(file.parent for file in folder.glob("*/adapter_config.json")) if folder.is_dir() else []


def _only_adapter(path: Path) -> Path:
    """Return the path of a checkpoint, or of the only adapter in a subfolder.

    Raises
    ------
    InvalidData
        If there are several adapters.
    """
    below = [] if weight_file(path) is not None else _adapters(path)
    if len(below) > 1:
        names = listed([item.name for item in below])
        raise InvalidData(f"{path} has several adapters, {names}; name one of them, as in '*/{below[0].name}'")
    return below[0] if below else path


def _log_other_adapters(paths: Sequence[Path]) -> None:
    """Log which adapters are left out because a folder above them has another."""
    others = [str(item) for path in paths for item in _adapters(path) if item not in paths]
    if others:
        logger.info("left out, since another adapter lies above them: %s", ", ".join(others))


def _alternatives(pattern: str | os.PathLike[str], matches: list[Path]) -> list[str]:
    """Return the matches, or the content of the deepest existing folder of the pattern."""
    if matches:
        return [str(path) for path in matches]
    folder = Path(os.path.expanduser(os.fspath(pattern)))
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return sorted(str(item) for item in folder.iterdir())


def _hint(matches: list[Path]) -> str:
    if not matches:
        return ""
    return f"A checkpoint is a .safetensors, .pt, .pth, .bin or .ckpt file, or a folder with {WHOLE[2]} or the like"


def _checkpoint(path: Path) -> Checkpoint:
    # The name of a file such as model.safetensors has no epoch.
    named = path.parent if path.name in WHOLE else path
    if (named / "adapter_config.json").exists() and not _has_epoch(named) and _has_epoch(named.parent):
        # One of several adapters, in the folder that the training made.
        named = named.parent
    state_file = named / "trainer_state.json"
    if named.is_dir() and state_file.exists():
        with refusing(f"{state_file} does not say of which epoch it is"):
            state = json.loads(state_file.read_text())
            return _made(path, state["epoch"], state["global_step"])
    if path.suffix == ".ckpt":
        content = read_pickle(path)
        if isinstance(content, Mapping) and "pytorch-lightning_version" in content:
            with refusing(f"{path}, of Lightning, does not say of which epoch it is"):
                return _made(path, _lightning_epochs(content), content["global_step"])
    return _by_name(path, named)


def _made(path: Path, epoch: Any, step: Any) -> Checkpoint:
    """Return the checkpoint of that epoch and step; refuse numbers that no training has."""
    checkpoint = Checkpoint(path, float(epoch), int(step))
    if not (math.isfinite(checkpoint.epoch) and checkpoint.epoch >= 0 and checkpoint.step >= 0):
        raise InvalidData(f"{path} is said to be of epoch {epoch!r:.40} and step {step!r:.40}; both are 0 or more")
    return checkpoint


def _has_epoch(folder: Path) -> bool:
    """Whether a folder has a state of the training, or a number in its name."""
    return (folder / "trainer_state.json").exists() or bool(re.search(r"\d", folder.name))


def _lightning_epochs(content: Mapping[str, Any]) -> int:
    """Return the number of epochs done: Lightning's own number is that of the running epoch, until its last batch."""
    loop = content.get("loops", {}).get("fit_loop", {})
    batches = loop.get("epoch_loop.batch_progress", {})
    if not batches:
        # Weights alone: Lightning saves them at the end of an epoch.
        return int(content["epoch"]) + bool(content["global_step"])
    done = batches.get("is_last_batch", False) and batches["current"]["processed"] == batches["current"]["ready"]
    return int(content["epoch"]) + bool(done)


def _by_name(path: Path, named: Path) -> Checkpoint:
    """Return the checkpoint with the epoch and the step in the name of `named`."""
    name = named.stem if named.suffix in SUFFIXES else named.name
    epochs, steps = _EPOCH.findall(name), _STEP.findall(name)
    numbers = epochs or re.findall(r"\d+", name)
    if not numbers:
        raise InvalidData(
            f"{path} does not say of which epoch it is: there is no number in its name"
            + (" and no trainer_state.json in it" if named.is_dir() else "")
        )
    with refusing(f"the name of {path} does not say of which epoch it is"):
        return _made(path, numbers[-1], steps[-1] if epochs and steps else int(float(numbers[-1])))
