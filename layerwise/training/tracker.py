"""A profile that grows epoch by epoch, beside any training loop."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import xarray as xr

from layerwise.arguments import FLAG, checked, choice, whole
from layerwise.errors import EmptyData, InvalidData, NotRepeatable, UnknownName
from layerwise.network.inference import fresh_autocast, kept_buffers
from layerwise.profiling.profiler import Profiler
from layerwise.runtime.distributed import broadcast, is_secondary_process, is_shared
from layerwise.settings import ARGUMENTS, Settings, chosen
from layerwise.training.continuation import refuse_other_data, refuse_other_settings

if TYPE_CHECKING:
    import os

    from torch import nn

    from layerwise.store import Store

__all__ = ["Schedule", "Tracker"]

#: Each so many; or 0, 1, 2, 4, 8, ...; or whatever a function of the epoch (or step) says.
Schedule = int | Literal["log"] | Callable[[int], bool]


class Tracker:
    """Measures a network while it is trained, and leaves the training as it was.

    Every measurement runs in evaluation mode, without gradients, on loaders of its own; modes, gradients, buffers and
    the state of random number generators are put back, so that training with and without a tracker gives the same
    weights to the last bit. What cannot be put back is what a loader or a dataset keeps to itself, so do not give the
    loader that the network is trained on.

    Under `torch.distributed` every process measures, since those that did not would only wait, and the first writes.

    Parameters
    ----------
    model : Module
    data : loader, or mapping of split to loader
        What to measure on.
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
        Whether to go on with a run that the store has. What is measured again then replaces what was there: after a
        training goes back to a checkpoint, the later epochs belong to weights that were lost. The run has to be one of
        the same data, layers and settings.
    settings : Settings, optional
    **options
        Fields of `Settings`.

    Raises
    ------
    EpochExists
        If the store has the run and `resume` is false; before anything is trained.
    UnknownName, InvalidData
        If there is no such schedule, or the run that is gone on with is one of other data, layers or settings.
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
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        asked = chosen(settings, options, ("store", "run", "every", "by", "resume", "settings"))
        self.run = run
        self._by = by
        self._due = _schedule(every)
        self._resume = resume
        self._store = _opened(store)
        self._refuse_to_mix()
        self._model = model
        self._generators = _generators(data)
        self._measured: dict[float, xr.Dataset] = {}
        with _untouched(model, self._generators):
            self._profiler = Profiler(model, data, asked)
        if not self._profiler.loaders.repeatable:
            raise NotRepeatable("a tracker runs the data again and again, and a loader runs once: give a DataLoader")
        if resume:
            self._refuse_another_run()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open between measurements: what was measured is written already."""

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
            The profile of this epoch; None where none was wanted.

        Raises
        ------
        EpochExists
            If this tracker measured at the same `epoch` before.
        InvalidData
            If `epoch` is a fraction and the schedule counts epochs, or if it counts steps and `step` is missing.
        """
        label = self._label(epoch, step)
        due = self._due(int(label) if step is None or self._by == "epoch" else step)
        if (last and label in self._measured) or not (due or last):
            return None
        self._refuse_twice(label)
        with _untouched(self._model, self._generators):
            measured = self._profiler.measure(label, step)
        if self._store is not None:
            self._store.write(measured, run=self.run, overwrite=self._resume)
        self._measured[label] = measured
        return measured

    @property
    def dataset(self) -> xr.Dataset:
        """Everything of the run along ``epoch``: with a store, what earlier processes wrote too.

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

    def _label(self, epoch: float, step: int | None) -> float:
        if self._by == "step":
            if step is None:
                raise InvalidData("by='step' needs measure(epoch, step), with the number of optimiser steps done")
            return float(epoch)
        if epoch != int(epoch):
            raise InvalidData(f"epoch {epoch} is no whole number; a tracker made with by='step' measures within epochs")
        return int(epoch)

    def _refuse_to_mix(self) -> None:
        """Raise, before anything is trained, if measurements would land among those of another training."""
        if self._store is None:
            return
        self._store.check(self.run)
        if self._resume or self.run not in self._store:
            return
        from layerwise.store import EpochExists

        epochs = self._store[self.run]["epoch"].values
        raise EpochExists(
            f"the run {self.run!r} already has {len(epochs)} epochs, {epochs[0]} to {epochs[-1]}; "
            "resume=True goes on with it, another name keeps both"
        )

    def _refuse_another_run(self) -> None:
        """Raise, before anything is trained, if the run was measured on other data or otherwise."""
        way_out = "another name keeps both"
        stored = None if self._store is None or self.run not in self._store else self._store[self.run]
        if stored is not None:
            refuse_other_settings(stored, self._profiler, self.run, way_out)
        shared = any(map(is_shared, self._profiler.loaders.splits.values()))
        attributes = broadcast(None if stored is None else dict(stored.attrs), shared)
        if attributes is not None:
            with _untouched(self._model, self._generators):
                refuse_other_data(attributes, self._profiler, self.run, way_out)

    def _refuse_twice(self, label: float) -> None:
        if label not in self._measured:
            return
        from layerwise.store import EpochExists

        step = int(self._measured[label]["step"].item())
        within = "; within an epoch give its part, as in epoch + (batch + 1) / len(loader)"
        raise EpochExists(f"epoch {label} was already measured, at step {step}{within if self._by == 'step' else ''}")


def _schedule(every: Schedule) -> Callable[[int], bool]:
    if callable(every):
        return every
    if isinstance(every, str):
        if every != "log":
            raise UnknownName("schedule", every, ["log"])
        return lambda count: count & (count - 1) == 0
    count_of = whole("it measures nothing: give 1 or more, 'log' or a function", 1).read("every", every)
    return lambda count: bool(count % count_of == 0)


def _opened(store: Store | str | os.PathLike[str] | None) -> Store | None:
    from layerwise.store import Store, open_store

    if store is None or is_secondary_process():
        return None
    return store if isinstance(store, Store) else open_store(store)


def _generators(data: Any) -> list[torch.Generator]:
    """The generators that loaders draw from besides the global ones; a training loader may share them."""
    loaders = data.values() if isinstance(data, Mapping) else [data]
    owners: list[Any] = []
    for loader in loaders:
        batches = getattr(loader, "batch_sampler", None)
        owners += [loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)]
    found = (getattr(owner, "generator", None) for owner in owners)
    return list({id(item): item for item in found if isinstance(item, torch.Generator)}.values())


@contextmanager
def _untouched(model: nn.Module, generators: Iterable[torch.Generator]) -> Iterator[None]:
    """Put back what loaders and forwards change, though no gradient flows: random numbers, buffers, autocast's copies.

    What a loader makes of the model, before or between forwards, is put back too.
    """
    with ExitStack() as stack:
        stack.enter_context(kept_buffers(model))
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        for generator in generators:
            stack.callback(generator.set_state, generator.get_state())
        stack.enter_context(torch.random.fork_rng(_cuda_devices(model)))
        stack.enter_context(fresh_autocast())
        yield


def _cuda_devices(model: nn.Module) -> list[int]:
    """Where the model or the caller may draw; asking any other device would take memory on it."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return []
    indices = {item.device.index for item in (*model.parameters(), *model.buffers()) if item.is_cuda}
    return sorted({*indices, torch.cuda.current_device()})
