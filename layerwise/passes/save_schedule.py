"""When the state of a pass is saved: at intervals, and so rarely that it takes little of the time."""

from __future__ import annotations

import math
import time

__all__ = ["SaveSchedule"]

# Saving takes at most about this share of the time.
_SHARE = 0.05


class SaveSchedule:
    """Decides when to save.

    Parameters
    ----------
    every : float
        Seconds between two states, more where saving takes long; 0 saves after every batch.
    """

    def __init__(self, every: float) -> None:
        self.every = every
        self.restart()

    def restart(self) -> None:
        """Count the time from now."""
        self._waited = time.monotonic()
        self._pause = self.every

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._waited >= self._pause

    @property
    def stopped(self) -> bool:
        """Whether nothing is saved any more."""
        return math.isinf(self._pause)

    def stop(self) -> None:
        """Save nothing any more."""
        self._pause = math.inf

    def saved(self, started: float) -> None:
        """Record that saving began at `started` (`time.monotonic`) and ended now."""
        self._waited = time.monotonic()
        self._pause = max(self.every, (self._waited - started) / _SHARE) if self.every else 0.0
