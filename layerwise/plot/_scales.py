"""From numbers to colours, axes and words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.ticker import FixedLocator

__all__ = [
    "BLANK",
    "colour_scale",
    "diverging_scale",
    "finite",
    "is_logarithm",
    "log_ticks",
    "range_text",
    "scale_axis",
    "spans_decades",
    "value_text",
]

BLANK = "no finite values"

# Differences below the accuracy of the statistics are not shown as structure.
ACCURACY = 1e-6

# An axis with more decades does not label every one.
MOST_DECADES = 6


def finite(values: np.ndarray) -> np.ndarray:
    """Return the finite values, flat."""
    shown: np.ndarray = values[np.isfinite(values)]
    return shown


def is_logarithm(array: xr.DataArray) -> bool:
    """Whether a variable's values are already logarithms."""
    return bool(array.attrs.get("units") == "log10")


def spans_decades(values: np.ndarray, logarithms: bool = False) -> bool:
    """Whether to use a logarithmic scale: no value is below zero, and the positive ones span a decade or more."""
    shown = finite(values)
    positive = shown[shown > 0]
    return not logarithms and bool(positive.size and (shown >= 0).all() and positive.max() >= 10 * positive.min())


def colour_scale(values: np.ndarray, logarithms: bool = False) -> Normalize:
    """Scale colours from the least to the greatest value; on a logarithmic scale zeros have a place at the low end."""
    shown = finite(values)
    if not shown.size:
        return Normalize(0.0, 1.0)
    low, high = float(shown.min()), float(shown.max())
    if spans_decades(shown, logarithms):
        least = float(shown[shown > 0].min())
        return LogNorm(low, high) if low > 0 else SymLogNorm(least, linscale=0.5, vmin=0.0, vmax=high, base=10)
    if high - low <= ACCURACY * max(abs(low), abs(high)):
        margin = 0.5 * abs(low) or 0.5
        return Normalize(low - margin, high + margin)
    return Normalize(low, high)


def log_ticks(low: float, high: float) -> list[float]:
    """Return the decades between two positive numbers, with 2 and 5 times them where these are few; at most ten.

    Examples
    --------
    >>> log_ticks(0.03, 0.5)
    [0.05, 0.1, 0.2, 0.5]
    """
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    factors = (1, 2, 5) if np.log10(high / low) < 2 else (1,)
    ticks = [float(f"{factor}e{int(decade)}") for decade in decades for factor in factors]
    inside = [tick for tick in ticks if low <= tick * (1 + 1e-9) and tick <= high * (1 + 1e-9)]
    return inside[:: -(-len(inside) // 10)] if inside else [low, high]


def diverging_scale(values: np.ndarray, size: float) -> Normalize:
    """Scale colours symmetrically around zero; differences below the accuracy of numbers of `size` have no colour."""
    shown = np.abs(finite(values))
    most = float(shown.max()) if shown.size else 0.0
    limit = most if most > ACCURACY * size else 1.0
    return Normalize(-limit, limit)


def scale_axis(
    ax: Axes,
    axis: Literal["x", "y"],
    values: np.ndarray,
    edges: np.ndarray | Sequence[float] = (),
    *,
    logarithms: bool = False,
) -> None:
    """Make an axis logarithmic if the values span decades; zeros then have a place of their own at its low end.

    Edges of bands around the values extend the axis by at most a decade below, since a lower edge may be next to zero.
    """
    if not spans_decades(values, logarithms):
        return
    values = finite(values)
    shown = np.concatenate([values, finite(np.asarray(edges))])
    least, most = values[values > 0].min(), 1.3 * shown.max()
    set_scale, set_limits = (ax.set_xscale, ax.set_xlim) if axis == "x" else (ax.set_yscale, ax.set_ylim)
    if (values == 0).any():
        set_scale("symlog", linthresh=least, linscale=0.5)
        set_limits(-0.2 * least, most)
        # The default tick at the least decade would overlap the tick at zero.
        decades = np.arange(np.ceil(np.log10(least)), np.floor(np.log10(most)) + 1)
        ticks = ax.xaxis if axis == "x" else ax.yaxis
        ticks.set_major_locator(FixedLocator([0.0, *10.0 ** decades[:: -(-len(decades) // MOST_DECADES)]]))
        minor = np.outer(10.0 ** np.append(decades[0] - 1, decades), np.arange(2, 10)).ravel()
        ticks.set_minor_locator(FixedLocator(minor[minor >= least]))
    else:
        set_scale("log")
        set_limits(max(shown[shown > 0].min(), least / 10) / 1.3, most)


def value_text(value: float) -> str:
    """Return a number with two digits, as short as possible.

    Examples
    --------
    >>> value_text(0.00012), value_text(123.4), value_text(0.25), value_text(1e6)
    ('1.2e-4', '123', '0.25', '1e6')
    """
    size = abs(value)
    if 0 < size < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    text = f"{value:.0f}" if 99.5 <= size < 9999.5 else f"{value:.2g}"
    return re.sub(r"e\+?(-?)0*", r"e\1", text)


def range_text(values: np.ndarray, scale: Normalize) -> str:
    """Return the least and the greatest value of a row, and whether its colours are logarithmic."""
    shown = finite(values)
    if not shown.size:
        return BLANK
    low, high = value_text(float(shown.min())), value_text(float(shown.max()))
    text = low if low == high else f"{low} to {high}"
    return f"{text}, log" if isinstance(scale, LogNorm | SymLogNorm) else text
