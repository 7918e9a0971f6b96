"""Numbers as the cells of a table on a terminal."""

from __future__ import annotations

import math

__all__ = ["depth_cell", "number_cell"]


def depth_cell(value: float) -> str:
    """Return a depth with two decimals.

    Examples
    --------
    >>> depth_cell(1 / 3)
    '0.33'
    """
    return f"{value:.2f}"


def number_cell(value: float) -> str:
    """Return a number with four digits, or a dash for NaN.

    Examples
    --------
    >>> number_cell(12.34567), number_cell(float("nan"))
    ('12.35', '-')
    """
    return "-" if math.isnan(value) else f"{value:.4g}"
