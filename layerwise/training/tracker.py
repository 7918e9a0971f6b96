"""A profile that grows epoch by epoch, during any training loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Unpack

import xarray as xr

from layerwise.arguments import FLAG, checked, choice
from layerwise.errors import EmptyData, NotRepeatable
from layerwise.profiling.profiler import Profiler
from layerwise.runtime.distributed import is_secondary_process
from layerwise.settings import ARGUMENTS, Settings, SettingsOptions, merge_settings
from layerwise.training.continuation import refuse_another_run, refuse_existing_run
from layerwise.training.isolation import random_generators, untouched
from layerwise.training.schedule import Calendar, Schedule

if TYPE_CHECKING:
    import os

    import torch
    from torch import nn

    from layerwise.store import Store

__all__ = ["Schedule", "Tracker"]

_ARGUMENTS = ("store", "run", "every", "by", "resume", "device", "batch_size", "settings")


class Tracker:
    """Measure a network while it is trained, and leave the training as it was.

    Every measurement runs in evaluation mode, without gradients, on loaders of its own. Modes, gradients, buffers and
    the state of random number generators are restored, so that a training with and without a tracker ends with the same
    weights to the last bit. State inside a loader or a dataset cannot be restored: do not pass the loader that the
    network is trained on.

    Under `torch.distributed` every process measures, and the first one writes.

    Parameters
    ----------
    model : Module
    data : str, loader, or mapping of split to loader
        What to measure on, as for `layerwise.profile`.
    store : Store or path, optional
        Where each measurement is written at once; without one, measurements stay in `dataset`.
    run : str
        Name of the run in the store.
    every : int, "log" or callable
        The schedule: measure each so many epochs; or at 0, 1, 2, 4, 8, ...; or when the function of the epoch says so.
    by : {"epoch", "step"}
        What the schedule counts. By epoch, labels along ``epoch`` are the whole numbers of epochs done. By step, they
        are fractions, such as 2.25 for a quarter of the third epoch, so that no two measurements share one.
    resume : bool
        Whether to continue a run that the store has. New measurements replace those of the same epoch, since a training
        that goes back to a checkpoint loses its later weights. Data, layers and settings must be those of the run.
    device, batch_size, settings, **options
        As for `layerwise.profile`.

    Raises
    ------
    EpochExists
        If the store has the run and `resume` is false; before anything is trained.
    UnknownName, InvalidArgument, InvalidData
        If there is no such schedule, or the run has other data, layers or settings.
    NotRepeatable
        If a loader runs only once.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> probe = [(torch.randn(10, 4), torch.arange(10) % 2)]
    >>> with Tracker(net, probe, metrics="nc1", every="log") as tracker:
    ...     _ = tracker.measure(0)
    ...     for epoch in range(9):
    ...         _ = tracker.measure(epoch + 1)  # after the training of this epoch: epochs done
    >>> tracker.dataset["epoch"].values.tolist()
    [0, 1, 2, 4, 8]
    """

    @checked(ARGUMENTS, by=choice("way to count", ("epoch", "step")))
    def __init__(
        self,
        model: nn.Module,
        data: Any,
        *,
        store: Store | str | os.PathLike[str] | None = None,
        run: str = "run",
        every: Schedule = 1,
        by: Literal["epoch", "step"] = "epoch",
        resume: bool = False,
        device: str | torch.device | None = None,
        batch_size: int = 64,
        settings: Settings | None = None,
        **options: Unpack[SettingsOptions],
    ) -> None:
        settings = merge_settings(settings, options, _ARGUMENTS)
        self.run = run
        self._calendar = Calendar(every, by)
        self._resume = resume
        self._store = _opened(store)
        if self._store is not None:
            refuse_existing_run(self._store, run, resume=resume)
        self._model = model
        self._generators = random_generators(data)
        self._measured: dict[float, xr.Dataset] = {}
        with untouched(model, self._generators):
            self._profiler = Profiler(model, data, device=device, batch_size=batch_size, settings=settings)
        if not self._profiler.loaders.repeatable:
            raise NotRepeatable("a tracker runs the data again and again, and a loader runs once: give a DataLoader")
        if resume:
            stored = None if self._store is None or run not in self._store else self._store[run]
            with untouched(model, self._generators):
                refuse_another_run(stored, self._profiler, run, "another name keeps both")

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: every measurement is already written."""

    @checked(ARGUMENTS, last=FLAG)
    def measure(self, epoch: float, step: int | None = None, *, last: bool = False) -> xr.Dataset | None:
        """Measure now, if the schedule wants it.

        Parameters
        ----------
        epoch : int or float
            Epochs done, 0 before the first: the label of the measurement. By step, with the part of the current epoch,
            as in ``epoch + (batch + 1) / len(loader)``.
        step : int, optional
            Optimiser steps done; kept as the coordinate ``step``. The epoch by default.
        last : bool
            Whether training ends here: then the network is measured whatever the schedule says, unless it just was.

        Returns
        -------
        Dataset or None
            The profile of this epoch; None if the schedule skips it.

        Raises
        ------
        EpochExists
            If this tracker measured at the same `epoch` before.
        InvalidArgument
            If `epoch` is a fraction and the schedule counts epochs, or if it counts steps and `step` is missing.
        """
        label = self._calendar.label(epoch, step)
        due = self._calendar.is_due(label, step)
        if (last and label in self._measured) or not (due or last):
            return None
        _refuse_twice(self._measured, label, self._calendar.by)
        with untouched(self._model, self._generators):
            measured = self._profiler.measure(label, step)
        if self._store is not None:
            self._store.write(measured, run=self.run, overwrite=self._resume)
        self._measured[label] = measured
        return measured

    @property
    def dataset(self) -> xr.Dataset:
        """Everything of the run along ``epoch``; with a store, also what earlier processes wrote.

        Raises
        ------
        EmptyData
            If nothing was measured yet.
        """
        if self._store is not None and self.run in self._store:
            return self._store[self.run].load()
        if not self._measured:
            raise EmptyData("nothing was measured yet: call measure(epoch) first")
        measured = [self._measured[label] for label in sorted(self._measured)]
        return xr.concat(measured, "epoch", data_vars="minimal", combine_attrs="override", join="exact")


def _refuse_twice(measured: Mapping[float, xr.Dataset], label: float, by: str) -> None:
    if label not in measured:
        return
    from layerwise.store import EpochExists

    step = int(measured[label]["step"].item())
    within = "; within an epoch give its part, as in epoch + (batch + 1) / len(loader)"
    raise EpochExists(f"epoch {label} was already measured, at step {step}{within if by == 'step' else ''}")


def _opened(store: Store | str | os.PathLike[str] | None) -> Store | None:
    from layerwise.store import Store, open_store

    if store is None or is_secondary_process():
        return None
    return store if isinstance(store, Store) else open_store(store)
