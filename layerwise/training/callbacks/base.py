"""The base of the callbacks: a tracker that is made when training starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from layerwise.errors import EmptyData, UnknownName
from layerwise.training.callbacks.scalars import scalars as usual_scalars
from layerwise.training.tracker import Schedule, Tracker

if TYPE_CHECKING:
    import xarray as xr
    from torch import nn

__all__ = ["Tracking"]


class Tracking:
    """Hold the arguments of a tracker until there is a model.

    Parameters
    ----------
    data, every, by
        As for `layerwise.Tracker`; not the loader that the network is trained on.
    scalars : callable
        Function from the profile of an epoch to the numbers that are logged, such as `layerwise.callbacks.scalars` or a
        ``functools.partial`` of it.
    resume : bool
        Whether to continue a run that the store has; a training that starts from a checkpoint always does.
    **options
        Other arguments of `Tracker`, such as ``store``, ``run`` and the fields of `Settings`.

    Attributes
    ----------
    tracker : Tracker or None
        None before training.
    """

    def __init__(
        self,
        data: Any,
        *,
        every: Schedule = 1,
        by: Literal["epoch", "step"] = "epoch",
        scalars: Callable[[xr.Dataset], dict[str, float]] = usual_scalars,
        resume: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if by not in ("epoch", "step"):
            raise UnknownName("way to count", by, ["epoch", "step"])
        self.tracker: Tracker | None = None
        self._data = data
        self._by = by
        self._scalars = scalars
        self._resume = resume
        self._options = {"every": every, "by": by, **options}

    @property
    def dataset(self) -> xr.Dataset:
        """All measurements of the run, along ``epoch``.

        Raises
        ------
        EmptyData
            If nothing was measured yet.
        """
        if self.tracker is None:
            raise EmptyData("nothing was measured yet: the training has not begun")
        return self.tracker.dataset

    def begin(self, model: nn.Module, *, step: int) -> None:
        """Make the tracker; a training that begins after step 0 continues its run."""
        self.tracker = Tracker(model, self._data, resume=self._resume or step > 0, **self._options)

    def numbers(self, epoch: float, step: int, *, last: bool = False) -> dict[str, float]:
        """Measure if the schedule wants it, and return the numbers to log; none if it does not."""
        if self.tracker is None:
            return {}
        profile = self.tracker.measure(epoch, step, last=last)
        return {} if profile is None else self._scalars(profile)
