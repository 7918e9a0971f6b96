"""When a training is measured, and under which label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from layerwise.arguments import whole
from layerwise.errors import InvalidArgument, UnknownName

__all__ = ["Calendar", "Schedule"]

#: Each so many; or 0, 1, 2, 4, 8, ...; or whatever a function of the epoch (or step) says.
Schedule = int | Literal["log"] | Callable[[int], bool]


class Calendar:
    """A schedule, counted in epochs or in optimiser steps.

    Parameters
    ----------
    every : int, "log" or callable
    by : {"epoch", "step"}

    Raises
    ------
    UnknownName, InvalidArgument
        If there is no such schedule, or it measures nothing.
    """

    def __init__(self, every: Schedule, by: Literal["epoch", "step"]) -> None:
        self.by = by
        self._is_due = _due_function(every)

    def label(self, epoch: float, step: int | None) -> float:
        """Return the label of a measurement: a whole epoch or, by step, one with a fraction.

        Raises
        ------
        InvalidArgument
            If `epoch` is a fraction and epochs are counted, or if steps are counted and `step` is missing.
        """
        if self.by == "step":
            if step is None:
                raise InvalidArgument("by='step' needs measure(epoch, step), with the number of optimiser steps done")
            return float(epoch)
        if epoch != int(epoch):
            raise InvalidArgument(
                f"epoch {epoch} is no whole number; a tracker made with by='step' measures within epochs"
            )
        return int(epoch)

    def is_due(self, label: float, step: int | None) -> bool:
        """Return whether the schedule measures now."""
        return bool(self._is_due(int(label) if step is None or self.by == "epoch" else step))


def _due_function(every: Schedule) -> Callable[[int], bool]:
    if callable(every):
        return every
    if isinstance(every, str):
        if every != "log":
            raise UnknownName("schedule", every, ["log"])
        return lambda count: count & (count - 1) == 0
    interval = whole("it measures nothing: give 1 or more, 'log' or a function", 1).read("every", every)
    return lambda count: bool(count % interval == 0)
