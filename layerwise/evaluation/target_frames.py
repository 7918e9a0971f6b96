"""The frames that a caller asks for: one for all targets, or one for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from layerwise.errors import InvalidData, UnknownName
from layerwise.metrics import Metric, select
from layerwise.settings import Settings
from layerwise.theory.frames import Frame, as_frame

__all__ = ["check_frames", "frame_of", "frames_told", "select_with_frame"]


def frame_of(settings: Settings, target: str, classes: int) -> Frame | None:
    """Return the frame that was asked for a target's classes; None if there is none."""
    asked = settings.frame.get(target) if isinstance(settings.frame, Mapping) else settings.frame
    return None if asked is None else as_frame(asked, classes)


def select_with_frame(settings: Settings) -> list[Metric]:
    """Return the metrics that were asked for; by default `frame_distance` is among them if there is a frame.

    Raises
    ------
    InvalidData
        If the distance from a frame was asked for, and no frame.
    """
    if settings.frame is not None and settings.metrics is None:
        return select(["*", "frame_distance"])
    metrics = select(settings.metrics)
    if settings.frame is None and any("frame" in item.needs for item in metrics):
        raise InvalidData(
            "frame_distance is the distance from a frame: give frame='etf', 'orthogonal', a Gram matrix, or what "
            "layerwise.theory.predict expects of the training"
        )
    return metrics


def check_frames(settings: Settings, targets: Collection[str], classes: Mapping[str, int]) -> None:
    """Raise, before the data is run, if a frame belongs to no target or does not fit a target's known classes."""
    for target in settings.frame if isinstance(settings.frame, Mapping) else ():
        if target not in targets:
            raise UnknownName("target", target, targets)
    for target, count in classes.items():
        frame_of(settings, target, count)


def frames_told(settings: Settings, classes: Mapping[str, int]) -> dict[str, Any]:
    """Return the attribute of a Dataset for the frame of each target: name, and norms in units of the largest."""
    frames = {target: frame_of(settings, target, count) for target, count in classes.items()}
    attributes = {
        target: {"name": frame.name, "norms": np.round(frame.norms / frame.norms.max(), 6).tolist()}
        for target, frame in frames.items()
        if frame is not None
    }
    return {"frame": attributes} if attributes else {}
