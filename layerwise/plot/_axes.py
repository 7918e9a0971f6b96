"""New Axes of a size that suits a paper, and labels that fit on them."""

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

# In inches: the width of a page, and the most that Axes take of its height.
PAGE_WIDTH = 7.0
TALLEST = 4.0

#: More layers than this are too many to name one by one.
NAMED_LAYERS = 24

# Up to so many layers every one has its label.
FEW_LAYERS = 20

# Labels are cut to this many characters.
LONGEST = 24

# From how many rows or numbers one is labelled.
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def axes_or_new(ax: Axes | None, width: float, height: float) -> tuple[Axes, float | None]:
    """The caller's Axes, or new ones together with the height in inches that they should get (see `fit`)."""
    if ax is not None:
        return ax, None
    axes, height = new_panels(1, width, height)
    return axes[0], height


def new_panels(count: int, width: float, height: float) -> tuple[list[Axes], float]:
    """New Axes one below the other, and the height in inches that each should get (see `fit`)."""
    height = min(height, TALLEST / count)
    # Ample: where labels need more than there is, a layout gives up.
    size = (float(np.clip(width + 2.0, 3.6, PAGE_WIDTH)), count * height + 4.0)
    return list(plt.subplots(count, figsize=size, layout="constrained", squeeze=False)[1].flat), height


def fit(ax: Axes, height: float | None = None, panels: int = 1) -> None:
    """Lay the figure out, so that lengths can be measured; then cut a new one to what gives `ax` its height.

    There are so many panels of the same height.
    """
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()
    if height is not None:
        figure.set_figheight(figure.get_figheight() + panels * (height - points(ax)[1] / 72))


def points(ax: Axes, height: float | None = None) -> tuple[float, float]:
    """Width and height of the Axes in points; the height in inches that it will get goes before the one that it has."""
    box = ax.get_window_extent()
    dpi = ax.figure.canvas.figure.dpi
    return box.width * 72 / dpi, box.height * 72 / dpi if height is None else 72 * height


def text_size(text: str, size: str) -> tuple[float, float]:
    """Width of a text and height of its line, in points."""
    font = FontProperties(size=size)
    return _width(text, font), float(font.get_size_in_points())


@lru_cache(maxsize=4096)
def _width(text: str, font: FontProperties) -> float:
    return float(TextPath((0, 0), text, prop=font).get_extents().width) if text.strip() else 0.0


def common_layers(arrays: Sequence[xr.DataArray]) -> list[str] | None:
    """The layers' names if they are the same in all arrays, else None: then only depth compares them."""
    names = [[str(name) for name in array["layer"].values] for array in arrays]
    return names[0] if all(own == names[0] for own in names) else None


def short_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Layer names without what they share, and a pattern that shows it once.

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
        columns = zip(*(own for own in parts if len(own) == length), strict=True)
        # Fewer than three show no pattern: of these the last part is kept.
        few = [False] * (length - 1) + [True]
        varies[length] = [len(set(column)) > 1 for column in columns] if count > 2 else few
    short = [".".join(part for part, kept in zip(own, varies[len(own)], strict=True) if kept) for own in parts]
    if all(short) and len(set(short)) == len(names):
        length, count = Counter(map(len, parts)).most_common(1)[0]
        example = next(own for own in parts if len(own) == length)
        pattern = ["*" if kept else part for part, kept in zip(example, varies[length], strict=True)]
        return short, "" if count < 3 or set(pattern) == {"*"} else ".".join(pattern)
    # The first part in which names differ, the last part kept in any case.
    heads = zip(*(own[:-1] for own in parts), strict=False)
    shared = len(list(takewhile(lambda column: len(set(column)) == 1, heads)))
    return [".".join(own[shared:]) for own in parts], ".".join([*parts[0][:shared], "*"]) if shared else ""


def label_layers(ax: Axes, names: Sequence[str]) -> None:
    """Label the layers at x = 0, 1, ...: level where that fits, numbers thinned, else upright."""
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
    """The labels that can stand side by side: words, and of those that end in a number as many as there is room for.

    None where upright labels say more: there are few layers and not all labels fit, or many words, or they crowd out
    the numbers, or too few labels of the kind ``stage.block`` are left.
    """

    def apart(first: int, second: int) -> bool:
        return abs(second - first) * spacing >= (widths[first] + widths[second]) / 2

    numbers = [label.rpartition(".")[2] for label in labels]
    every = [i for i, number in enumerate(numbers) if not number.isdigit()]
    words: list[int] = []
    for i in every:
        if not words or apart(words[-1], i):
            words.append(i)
    lost = len(every) - len(words)
    for step in STEPS:
        even = [i for i, number in enumerate(numbers) if number.isdigit() and int(number) % step == 0]
        if all(map(apart, even, even[1:])):
            break
    else:
        return None
    kept = [i for i in even if all(apart(i, word) for word in words)]
    plain = all(labels[i].isdigit() for i in even)
    enough = 2 * len(kept) >= len(even) and (step == 1 or plain or (len(labels) > NAMED_LAYERS and len(kept) > 5))
    few_lost = lost == 0 or (plain and 10 * lost <= len(labels))
    complete = len(words) + len(kept) == len(labels)
    return sorted(words + kept) if complete or (enough and few_lost and len(labels) > FEW_LAYERS) else None


def label_rows(ax: Axes, labels: Sequence[str], height: float | None) -> None:
    """Label the rows at y = 0, 1, ..., thinned where they would overlap."""
    spacing = points(ax, height)[1] / len(labels)
    line = text_size("", SMALL)[1]
    step = next((step for step in STEPS if step * spacing >= line), len(labels))
    # An arrow behind a name is one sign wide, however it is spelled.
    parts = [escaped(label).partition(" $") for label in labels]
    # Long names tend to differ at their ends.
    half = LONGEST // 2
    shown = [
        (name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}") + space + arrow
        for name, space, arrow in parts
    ]
    ax.set_yticks(range(0, len(labels), step), shown[::step], fontsize=SMALL)


def wrapped(text: str, length: float) -> str:
    """A small text in lines of at most about `length` points."""
    width = max(20, int(length / (0.55 * text_size("", SMALL)[1])))
    # A formula is one sign wide, however it is spelled.
    spelled = {line: len(line) - len(re.sub(r"\$.*?\$", "x", line)) for line in text.splitlines()}
    return "\n".join(textwrap.fill(line, width + extra) for line, extra in spelled.items())
