"""New Axes of a size for a paper, and labels that fit on them."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from layerwise.errors import escaped

__all__ = [
    "DEPTH_LABEL",
    "NAMED_LAYERS",
    "PAGE_WIDTH",
    "SMALL",
    "STEPS",
    "TINY",
    "axes_or_new",
    "common_layers",
    "fit",
    "label_layers",
    "label_rows",
    "new_panels",
    "points",
    "short_names",
    "text_size",
    "wrapped",
]

# Relative to the caller's own font size.
SMALL = "small"
TINY = "x-small"

DEPTH_LABEL = "depth (first layer 0, last layer 1)"

#: Width of a page, in inches.
PAGE_WIDTH = 7.0

# The greatest height of Axes, in inches.
TALLEST = 4.0

#: More layers than this are not named one by one.
NAMED_LAYERS = 24

# Up to this many layers every one has its label.
FEW_LAYERS = 20

# Labels are cut to this many characters.
LONGEST = 24

#: Steps between labelled rows or numbers.
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def axes_or_new(ax: Axes | None, width: float, height: float) -> tuple[Axes, float | None]:
    """Return the caller's Axes; without them new ones, and the height in inches to fit them to (see `fit`)."""
    if ax is not None:
        return ax, None
    axes, height = new_panels(1, width, height)
    return axes[0], height


def new_panels(count: int, width: float, height: float) -> tuple[list[Axes], float]:
    """Return new Axes one below the other, and the height in inches to fit each to (see `fit`)."""
    height = min(height, TALLEST / count)
    # Larger than needed: a layout fails where labels do not fit.
    size = (float(np.clip(width + 2.0, 3.6, PAGE_WIDTH)), count * height + 4.0)
    return list(plt.subplots(count, figsize=size, layout="constrained", squeeze=False)[1].flat), height


def fit(ax: Axes, height: float | None = None, panels: int = 1) -> None:
    """Lay the figure out, so that lengths can be measured; then cut a new figure so that `ax` has its height.

    Parameters
    ----------
    ax : Axes
        One of the panels.
    height : float, optional
        Height of each panel in inches; by default the figure keeps its size.
    panels : int
        Number of panels of this height, one below the other.
    """
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()
    if height is not None:
        figure.set_figheight(figure.get_figheight() + panels * (height - points(ax)[1] / 72))


def points(ax: Axes, height: float | None = None) -> tuple[float, float]:
    """Return width and height of the Axes in points; `height` is the height in inches that it will be fitted to."""
    box = ax.get_window_extent()
    dpi = ax.figure.canvas.figure.dpi
    return box.width * 72 / dpi, box.height * 72 / dpi if height is None else 72 * height


def text_size(text: str, size: str) -> tuple[float, float]:
    """Return the width of a text and the height of its line, in points."""
    font = FontProperties(size=size)
    return _width(text, font), float(font.get_size_in_points())


@lru_cache(maxsize=4096)
def _width(text: str, font: FontProperties) -> float:
    return float(TextPath((0, 0), text, prop=font).get_extents().width) if text.strip() else 0.0


def common_layers(arrays: Sequence[xr.DataArray]) -> list[str] | None:
    """Return the names of the layers if they are the same in all arrays; otherwise None, and depth compares them."""
    names = [[str(name) for name in array["layer"].values] for array in arrays]
    return names[0] if all(layers == names[0] for layers in names) else None


def short_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Return layer names without the parts that they share, and a pattern that shows these parts once.

    Examples
    --------
    >>> short_names(["bert.embeddings", *(f"bert.encoder.layer.{i}" for i in range(3))])
    (['embeddings', '0', '1', '2'], 'bert.encoder.layer.*')
    """
    if len(names) == 1:
        return list(names), ""
    parts = [name.split(".") for name in names]
    varies = {}
    for length, count in Counter(map(len, parts)).items():
        columns = zip(*(name_parts for name_parts in parts if len(name_parts) == length), strict=True)
        # Fewer than three names show no pattern: they keep their last part.
        few = [False] * (length - 1) + [True]
        varies[length] = [len(set(column)) > 1 for column in columns] if count > 2 else few
    short = [
        ".".join(part for part, kept in zip(name_parts, varies[len(name_parts)], strict=True) if kept)
        for name_parts in parts
    ]
    if all(short) and len(set(short)) == len(names):
        length, count = Counter(map(len, parts)).most_common(1)[0]
        example = next(name_parts for name_parts in parts if len(name_parts) == length)
        pattern = ["*" if kept else part for part, kept in zip(example, varies[length], strict=True)]
        return short, "" if count < 3 or set(pattern) == {"*"} else ".".join(pattern)
    # Only the common prefix is cut; the last part stays in any case.
    heads = zip(*(name_parts[:-1] for name_parts in parts), strict=False)
    shared = len(list(takewhile(lambda column: len(set(column)) == 1, heads)))
    return [".".join(name_parts[shared:]) for name_parts in parts], ".".join(
        [*parts[0][:shared], "*"]
    ) if shared else ""


def label_layers(ax: Axes, names: Sequence[str]) -> None:
    """Label the layers at x = 0, 1, ...: horizontally where that fits, with numbers thinned, otherwise upright."""
    labels, pattern = short_names([escaped(name) for name in names])
    low, high = sorted(ax.get_xlim())
    spacing = points(ax)[0] / (high - low)
    line = text_size("", SMALL)[1]
    widths = [text_size(label, SMALL)[0] + 0.6 * line for label in labels]
    kept = level_labels(labels, widths, spacing)
    upright = kept is None
    if kept is None:
        kept = list(range(0, len(labels), math.ceil(1.1 * line / spacing)))
        labels = [label if len(label) <= LONGEST else f"…{label[1 - LONGEST :]}" for label in labels]
    ax.set_xticks(kept, [labels[i] for i in kept], rotation=90 if upright else 0, fontsize=SMALL)
    ax.set_xlabel(f"layer ({pattern})" if pattern else "layer", fontsize=SMALL)


def level_labels(labels: Sequence[str], widths: Sequence[float], spacing: float) -> list[int] | None:
    """Return the labels that fit side by side: words first, then labels that end in a number, as many as fit.

    None where upright labels show more: if there are few layers and not all labels fit, if many words do not fit or
    leave no room for the numbers, or if too few labels of the kind ``stage.block`` are left.
    """

    def fits(first: int, second: int) -> bool:
        return abs(second - first) * spacing >= (widths[first] + widths[second]) / 2

    numbers = [label.rpartition(".")[2] for label in labels]
    every = [i for i, number in enumerate(numbers) if not number.isdigit()]
    words: list[int] = []
    for i in every:
        if not words or fits(words[-1], i):
            words.append(i)
    lost = len(every) - len(words)
    for step in STEPS:
        even = [i for i, number in enumerate(numbers) if number.isdigit() and int(number) % step == 0]
        if all(map(fits, even, even[1:])):
            break
    else:
        return None
    kept = [i for i in even if all(fits(i, word) for word in words)]
    only_numbers = all(labels[i].isdigit() for i in even)
    enough = 2 * len(kept) >= len(even) and (
        step == 1 or only_numbers or (len(labels) > NAMED_LAYERS and len(kept) > 5)
    )
    few_lost = lost == 0 or (only_numbers and 10 * lost <= len(labels))
    complete = len(words) + len(kept) == len(labels)
    return sorted(words + kept) if complete or (enough and few_lost and len(labels) > FEW_LAYERS) else None


def label_rows(ax: Axes, labels: Sequence[str], height: float | None) -> None:
    """Label the rows at y = 0, 1, ..., thinned where they would overlap."""
    spacing = points(ax, height)[1] / len(labels)
    line = text_size("", SMALL)[1]
    step = next((step for step in STEPS if step * spacing >= line), len(labels))
    # An arrow behind a name is one character wide, however many its formula has.
    parts = [escaped(label).partition(" $") for label in labels]
    # Long names tend to differ at their ends.
    half = LONGEST // 2
    shown = [
        (name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}") + space + arrow
        for name, space, arrow in parts
    ]
    ax.set_yticks(range(0, len(labels), step), shown[::step], fontsize=SMALL)


def wrapped(text: str, length: float) -> str:
    """Break a small text into lines of at most about `length` points."""
    width = max(20, int(length / (0.55 * text_size("", SMALL)[1])))
    # A formula is about one character wide, however many it has.
    spelled = {line: len(line) - len(re.sub(r"\$.*?\$", "x", line)) for line in text.splitlines()}
    return "\n".join(textwrap.fill(line, width + extra) for line, extra in spelled.items())
