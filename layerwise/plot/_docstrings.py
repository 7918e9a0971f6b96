"""The parts of docstrings that plots share, each written once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["SHARED", "documented"]

P = ParamSpec("P")
T = TypeVar("T")

#: What stands in a docstring for ``%(name)s``, by name.
SHARED = {
    "ds": """\
ds : Dataset, or mapping of str to Dataset
    A profile; with several seeds the median is shown. A mapping of runs makes a grid.""",
    "variable": """\
variable : str or sequence of str
    A variable with one value a layer. A list of them makes a grid.""",
    "split": """\
split, target : str, optional
    ``train`` if there is one by default, else the first.""",
    "epoch": """\
epoch : int
    The epoch's label; negative numbers count from the last.""",
    "ax": """\
ax : Axes, optional
    Where to draw a single picture; by default a new figure.""",
    "axes": """\
Returns
-------
Axes
    The Axes with the picture.""",
    "grid": """\
Returns
-------
Axes or ndarray of Axes
    Axes for one variable of one profile. A list of variables or a mapping of runs makes an array with an entry for
    each; both together make a row for each variable and a column for each run.""",
}


def documented(function: Callable[P, T]) -> Callable[P, T]:
    """Fill the shared parts into a docstring."""
    text = inspect.cleandoc(function.__doc__ or "")
    function.__doc__ = re.sub(r"%\((\w+)\)s", lambda part: SHARED[part[1]], text)
    return function
