"""What figures of studies share."""

from __future__ import annotations

from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

__all__ = ["plain_log"]


def plain_log(axis: Axis) -> None:
    """Tick a logarithmic axis that spans about a decade at a few places, written as plain numbers."""
    axis.set_major_locator(LogLocator(10, (1, 1.5, 2, 3, 5)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_locator(NullLocator())
