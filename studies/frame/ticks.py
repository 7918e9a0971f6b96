"""What figures of studies share."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter
from numpy.typing import ArrayLike

__all__ = ["plain_log", "tick_layers"]

_TICKS = 8


def plain_log(axis: Axis) -> None:
    """Tick a logarithmic axis that spans about a decade at a few places, written as plain numbers."""
    axis.set_major_locator(LogLocator(10, (1, 1.5, 2, 3, 5)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_locator(NullLocator())


def tick_layers(ax: Axes, layers: ArrayLike) -> None:
    """Tick the numbers of layers along the axis across: of many only some, at equal steps."""
    numbers = np.asarray(layers)
    ax.set_xticks(numbers[:: -(-len(numbers) // _TICKS)])
