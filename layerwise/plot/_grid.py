"""One picture for one variable of one profile; a grid of pictures for lists of variables and mappings of runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from layerwise.arguments import Kind, checked
from layerwise.errors import InvalidArgument
from layerwise.plot._arguments import ARGUMENTS, PROFILES, VARIABLES
from layerwise.plot._axes import PAGE_WIDTH
from layerwise.plot._choose import Profiles, by_run
from layerwise.plot._docstrings import documented

__all__ = ["ProfilePlot", "profile_plot"]

P = ParamSpec("P")
Data = TypeVar("Data", contravariant=True)

# Width and height of a picture in a grid, in inches; one column is as wide as a single picture.
_SIZE = (3.6, 2.8)
_ONE_COLUMN = 0.7 * PAGE_WIDTH


class ProfilePlot(Protocol[Data, P]):
    """A plot that returns Axes for one variable of one profile, and an array of Axes for several."""

    @overload
    def __call__(self, ds: Data, variable: str = ..., *args: P.args, **kwargs: P.kwargs) -> Axes: ...

    @overload
    def __call__(
        self, ds: Profiles, variable: str | Sequence[str] = ..., *args: P.args, **kwargs: P.kwargs
    ) -> np.ndarray: ...


def profile_plot(
    *, runs_are_pictures: bool = True, **kinds: Kind
) -> Callable[[Callable[Concatenate[Data, str, P], Axes]], ProfilePlot[Data, P]]:
    """Decorate a plot of one variable so that it also draws grids, reads its arguments, and has a full docstring.

    Parameters
    ----------
    runs_are_pictures : bool
        Whether each run of a mapping is a picture of its own; otherwise the plot draws the runs in one.
    **kinds
        Kinds of the plot's own arguments.
    """

    def decorate(draw: Callable[Concatenate[Data, str, P], Axes]) -> ProfilePlot[Data, P]:
        default = inspect.signature(draw).parameters["variable"].default
        draw_one = cast("Callable[..., Axes]", documented(draw))

        @functools.wraps(draw_one)
        def call(ds: Any, variable: str | Sequence[str] = default, **options: Any) -> Any:
            runs = by_run(ds, ()) if runs_are_pictures else None
            if runs is None and isinstance(variable, str):
                return draw_one(ds, variable, **options)
            if options.pop("ax", None) is not None:
                raise InvalidArgument("ax takes one picture: name one variable of one run, or leave ax away")
            names = [variable] if isinstance(variable, str) else list(variable)
            axes = _draw_grid(functools.partial(draw_one, **options), {"": ds} if runs is None else runs, names)
            if runs is None:
                return axes[:, 0]
            return axes[0] if isinstance(variable, str) else axes

        read = checked(ARGUMENTS, ds=PROFILES, variable=VARIABLES, **kinds)(call)
        return cast("ProfilePlot[Data, P]", read)

    return decorate


def _draw_grid(draw: Callable[..., Axes], runs: Mapping[str, xr.Dataset], names: Sequence[str]) -> np.ndarray:
    """Draw a row for each variable and a column for each run, and name the runs in the titles."""
    width = _SIZE[0] * len(runs) if len(runs) > 1 else _ONE_COLUMN
    size = (width, _SIZE[1] * len(names))
    figure, axes = plt.subplots(len(names), len(runs), figsize=size, layout="constrained", squeeze=False)
    try:
        for row, name in zip(axes, names, strict=True):
            for ax, (run, ds) in zip(row, runs.items(), strict=True):
                draw(ds, name, ax=ax)
                if run:
                    ax.set_title(f"{run}: {ax.get_title('left')}", fontsize="medium", loc="left")
    except BaseException:
        plt.close(figure)
        raise
    return np.asarray(axes)
