"""Which checkpoints there are, and of which epochs."""

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
from layerwise.errors import InvalidData, UnknownName
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
        Optimiser steps done; the epoch where nothing says.
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
        """Another one where the weights were written anew, or copied."""
        states = [file.stat() for file in self.files]
        return " ".join(f"{state.st_size}:{state.st_mtime_ns}" for state in states)


def find_checkpoints(pattern: str | os.PathLike[str]) -> list[Checkpoint]:
    """The checkpoints that a pattern names, by epoch.

    Parameters
    ----------
    pattern : str or path
        Such as ``"runs/seed0/checkpoint-*"`` or ``"weights/epoch_*.safetensors"``, with ``**`` for any depth; or a
        folder of checkpoints. Epochs come from the ``trainer_state.json`` of transformers; from what Lightning keeps
        in its files, counted as trackers do: 1 once the first epoch, Lightning's 0, is done; or else from the name:
        the number after ``epoch``, or the last one. They are all whole, or all floats.

    Raises
    ------
    UnknownName
        If nothing is there that holds weights.
    InvalidData
        If a checkpoint does not say of which epoch it is, or two are of the same.
    """
    with refusing(f"the checkpoints {os.fspath(pattern)!r:.200} cannot be looked up", OSError):
        matches = _matches(os.path.expanduser(os.fspath(pattern)))
        matches = [_only_adapter(path) for path in matches]
        paths = [path for path in matches if weight_file(path) is not None]
    if not paths:
        raise UnknownName("checkpoint", os.fspath(pattern), _beside(pattern, matches), hint=_hint(matches))
    if len(paths) < len(matches):
        without = [str(path) for path in matches if path not in paths]
        logger.info("left out, since they hold no weights, or several: %s", ", ".join(without))
    found = sorted(map(_checkpoint, paths), key=lambda item: (item.epoch, item.step, str(item.path)))
    _tell_of_others(paths)
    if found[0].epoch == 0 and found[0].step == 0:
        logger.info("%s is taken for the network before its training: epochs are counted when they are done", paths[0])
    for first, second in pairwise(found):
        if first.epoch == second.epoch:
            raise InvalidData(
                f"{first.path} and {second.path} are both of epoch {first.epoch:g}; one run has one of each: "
                f"{os.fspath(pattern)!r} must name a single training"
            )
    kind = int if all(float(item.epoch).is_integer() for item in found) else float
    return [replace(item, epoch=kind(item.epoch)) for item in found]


def _matches(pattern: str) -> list[Path]:
    folder = Path(pattern)
    if not folder.exists():
        return sorted(map(Path, glob.glob(pattern, recursive=True)))
    if not folder.is_dir():
        return [folder]
    if _says_when(folder) and any(not _says_when(item) for item in _adapters(folder)):
        return [folder]
    # The folder of a training may itself have the last weights.
    is_one = any((folder / name).exists() for name in WHOLE)
    inside = sorted(item for item in folder.iterdir() if item.is_dir() or (not is_one and weight_file(item)))
    return [folder] if is_one and not any(map(weight_file, inside)) else inside


def _adapters(folder: Path) -> list[Path]:
    """The folders of the adapters that PEFT saves below, where it has several."""
    return sorted(file.parent for file in folder.glob("*/adapter_config.json")) if folder.is_dir() else []


def _only_adapter(path: Path) -> Path:
    """A checkpoint, or the one adapter below it that has weights.

    Raises
    ------
    InvalidData
        If there are several.
    """
    below = [] if weight_file(path) is not None else _adapters(path)
    if len(below) > 1:
        names = ", ".join(item.name for item in below)
        raise InvalidData(f"{path} has several adapters, {names}; name one of them, as in '*/{below[0].name}'")
    return below[0] if below else path


def _tell_of_others(paths: Sequence[Path]) -> None:
    """Say which adapters are left out, since there is another above them."""
    beside = [str(item) for path in paths for item in _adapters(path) if item not in paths]
    if beside:
        logger.info("left out, since another adapter lies above them: %s", ", ".join(beside))


def _beside(pattern: str | os.PathLike[str], matches: list[Path]) -> list[str]:
    """What there is instead: in the deepest folder of the pattern that exists."""
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
    # A file such as model.safetensors says nothing by its own name.
    named = path.parent if path.name in WHOLE else path
    if (named / "adapter_config.json").exists() and not _says_when(named) and _says_when(named.parent):
        # One of several adapters, in the folder that the training made.
        named = named.parent
    state = named / "trainer_state.json"
    if named.is_dir() and state.exists():
        with refusing(f"{state} does not say of which epoch it is"):
            said = json.loads(state.read_text())
            return _made(path, said["epoch"], said["global_step"])
    if path.suffix == ".ckpt":
        content = read_pickle(path)
        if isinstance(content, Mapping) and "pytorch-lightning_version" in content:
            with refusing(f"{path}, of Lightning, does not say of which epoch it is"):
                return _made(path, _lightning_epochs(content), content["global_step"])
    return _by_name(path, named)


def _made(path: Path, epoch: Any, step: Any) -> Checkpoint:
    """A checkpoint of that epoch and step, as far as these are numbers that a training can have."""
    found = Checkpoint(path, float(epoch), int(step))
    if not (math.isfinite(found.epoch) and found.epoch >= 0 and found.step >= 0):
        raise InvalidData(f"{path} is said to be of epoch {epoch!r:.40} and step {step!r:.40}; both are 0 or more")
    return found


def _says_when(folder: Path) -> bool:
    """Whether a folder says of which epoch it is."""
    return (folder / "trainer_state.json").exists() or bool(re.search(r"\d", folder.name))


def _lightning_epochs(content: Mapping[str, Any]) -> int:
    """Epochs done: Lightning's own number is that of the running epoch, until all of its batches are through."""
    loop = content.get("loops", {}).get("fit_loop", {})
    batches = loop.get("epoch_loop.batch_progress", {})
    if not batches:
        # Weights alone: Lightning saves them when an epoch is through.
        return int(content["epoch"]) + bool(content["global_step"])
    through = batches.get("is_last_batch", False) and batches["current"]["processed"] == batches["current"]["ready"]
    return int(content["epoch"]) + bool(through)


def _by_name(path: Path, named: Path) -> Checkpoint:
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
