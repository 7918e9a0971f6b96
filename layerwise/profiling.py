"""Model and data in, a profile out: the main job."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from layerwise.adapters.protocol import Batch
from layerwise.assembly import NETWORK_ERROR, assemble_profile
from layerwise.blocks import choose
from layerwise.directions import check_probes
from layerwise.engine import run_split
from layerwise.errors import EmptyData, NotRepeatable
from layerwise.feeds import next_linear, weight_matrix
from layerwise.inputs import class_names, find_loaders, find_network
from layerwise.layers import Layer
from layerwise.metrics import Convention, compute, convention, select
from layerwise.network import Reading, first_samples, readings_of
from layerwise.partial import Partial
from layerwise.passes import Request, SplitResult
from layerwise.plan import Plan, make_plan, parse_memory
from layerwise.progress import logger
from layerwise.provenance import environment, weight_hash
from layerwise.reduce import check_reduction
from layerwise.shares import agreed, is_follower, is_shared
from layerwise.trace import Trace, trace

if TYPE_CHECKING:
    import xarray as xr
    from torch import nn

__all__ = ["Profiler", "Settings", "profile"]


@dataclass(frozen=True)
class Settings:
    """What to measure, and how.

    Attributes
    ----------
    layers : str, sequence of str or callable
        ``"blocks"``, ``"stages"``, ``"leaves"``, ``"all"``, names, globs, or a function of a `Layer`.
    reduce : str
        How activations become features: ``auto``, ``gap``, ``grid:k``, ``cls``, ``mean``, ``last``, ``flatten`` or
        ``sketch:k``.
    metrics : str or sequence of str, optional
        Names or globs; all by default but what is costly, such as ``geometric_complexity``.
    classes : int, sequence of str, or mapping of target to either, optional
        Number or names of the classes. Taken from the data where it says so, else from the labels.
    convention : str or Convention
        ``default``, ``papyan``, ``he_su`` or ``he_su_imbalanced``.
    memory : str or int, optional
        Budget for statistics and waiting features, such as ``"8GiB"``; half of the free memory by default.
    nonfinite : {"raise", "drop"}
        Whether NaN or infinity in a layer is an error, or its samples are left out of the layer and counted.
    ridge : float
        Regularisation of the ridge classifier, in units of the mean variance of a feature.
    seed : int
        Of random projections and directions.
    probes : int or "exact"
        Random directions a sample for geometric complexity; ``"exact"`` takes every axis of the input.
    """

    layers: str | Sequence[str] | Callable[[Layer], bool] = "blocks"
    reduce: str = "auto"
    metrics: str | Sequence[str] | None = None
    classes: int | Sequence[str] | Mapping[str, int | Sequence[str]] | None = None
    convention: str | Convention = "default"
    memory: str | int | None = None
    nonfinite: Literal["raise", "drop"] = "raise"
    ridge: float = 1e-3
    seed: int = 0
    probes: int | Literal["exact"] = 8


def profile(
    model: nn.Module | str,
    data: Any,
    *,
    device: str | torch.device | None = None,
    batch_size: int = 64,
    settings: Settings | None = None,
    partial: Partial | str | os.PathLike[str] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Measure how far every layer of a network has collapsed, in one run of the data.

    Parameters
    ----------
    model : Module or str
        A network, or a name: ``timm/NAME``, ``hf/NAME`` or ``package.module:function``.
    data : str, loader, or mapping of split to loader
        A name such as ``"imagefolder:photos/"`` (`layerwise.data.read`), or whatever gives batches: ``(inputs,
        labels)`` or a mapping with labels; labels may be a mapping of several targets. Class means come from the
        split ``train`` where there is one.
    device : str, optional
        Where to run; where the model is, by default.
    batch_size : int
        For data given by name.
    settings : Settings, optional
    partial : Partial or path, optional
        A folder that keeps what was accumulated, minute by minute: a profile that was killed, and is asked for again,
        goes on from there to the same numbers. The folder is gone when the profile is finished; a `Partial` is removed
        by the caller, who may have the profile to write first.
    **options
        Fields of `Settings`, such as ``layers="stages"`` or ``metrics=["nc1", "ncc_*"]``.

    Returns
    -------
    Dataset
        Dims ``(epoch, split, target, layer)``, with ``class`` for per-class variables; one epoch, number 0.

    Raises
    ------
    LayerwiseError
        For whatever the caller can mend: an unknown layer, labels outside the classes, an empty loader.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> x, y = torch.randn(30, 8), torch.arange(30) % 3
    >>> ds = profile(net, [(x, y)], metrics=["nc1", "ncc_error"])
    >>> ds["nc1"].dims
    ('epoch', 'split', 'target', 'layer')
    """
    settings = settings or Settings(**options)
    kept = partial if partial is None or isinstance(partial, Partial) else Partial(partial)
    measured = Profiler(model, data, settings, device=device, batch_size=batch_size).measure(partial=kept)
    if kept is not None and kept is not partial:
        kept.remove()
    return measured


class Profiler:
    """A network, its data and its chosen layers, ready to be measured any number of times.

    Parameters
    ----------
    model, data, device, batch_size
        As for `profile`.
    settings : Settings
    """

    def __init__(
        self,
        model: nn.Module | str,
        data: Any,
        settings: Settings,
        *,
        device: str | torch.device | None = None,
        batch_size: int = 64,
    ) -> None:
        check_reduction(settings.reduce)
        check_probes(settings.probes)
        self.settings = settings
        self.convention = convention(settings.convention)
        self.metrics = select(settings.metrics)
        self.network, self.model_name = find_network(model, device)
        self.loaders = find_loaders(data, self.network.model, self.network.adapter, batch_size)
        if "complexity" in self._needs() and not self.loaders.repeatable:
            raise NotRepeatable("geometric complexity takes a second run of the data, and a loader runs only once")
        first = self._first_batch()
        self.class_names = class_names(settings.classes, self.loaders, list(first.labels))
        self._traced = self._trace(first)
        layers = choose(self._traced, settings.layers, self.network.head)
        self.readings = readings_of(self.network, layers, first, settings.reduce, settings.seed)
        self.plan = agreed(self._plan(first), any(map(is_shared, self.loaders.splits.values())))
        if not is_follower():
            logger.info("%s", self.plan.reason)

    @property
    def layers(self) -> list[Layer]:
        """The layers that are measured, in execution order."""
        return [reading.layer for reading in self.readings]

    def measure(self, epoch: float = 0, step: int | None = None, *, partial: Partial | None = None) -> xr.Dataset:
        """Measure the network as it is now.

        Parameters
        ----------
        epoch : int or float
            Label of the measurement along the dim ``epoch``.
        step : int, optional
            Training step; the epoch by default.
        partial : Partial, optional
            Where what is accumulated is kept, and goes on from.
        """
        started = time.perf_counter()
        if partial is not None:
            self.plan = Plan(**partial.begin(self._identity(), asdict(self.plan)))
        request = self._request()
        results: dict[str, SplitResult] = {}
        numbers = {}
        for split in sorted(self.loaders.splits, key=lambda name: name != "train"):
            loader = self.loaders.splits[split]
            results[split] = run_split(self.network, loader, request, split, results.get("train"), partial)
            _warn_of_few_classes(results[split], split)
            numbers[split] = self._numbers(results[split])
            # The numbers are taken; of the statistics only what other splits are judged by stays.
            results[split].evidence.clear()
        splits = list(self.loaders.splits)
        return assemble_profile(
            {split: numbers[split] for split in splits},
            [NETWORK_ERROR, *(metric.variable for metric in self.metrics)],
            self.readings,
            [request.narrowing(reading) for reading in self.readings],
            self._all_class_names(results),
            epoch=epoch,
            step=int(epoch) if step is None else step,
            attributes=self._attributes({split: results[split] for split in splits}, time.perf_counter() - started),
        )

    def _first_batch(self) -> Batch:
        split, loader = next(iter(self.loaders.splits.items()))
        batches = iter(loader)
        raw = next(batches, None)
        if raw is None:
            raise EmptyData(f"split {split!r} is empty: its loader gave no batch")
        if batches is loader:
            # What runs only once must not lose the batch that was looked at.
            self.loaders = replace(self.loaders, splits={**self.loaders.splits, split: chain([raw], batches)})
        return self.network.adapter.batch(raw, self.network.device)

    def _trace(self, first: Batch) -> Trace:
        """Two samples, traced through the network."""
        few = first_samples(first, 2)
        return trace(self.network.model, lambda: self.network.adapter.forward(self.network.model, few))

    def _plan(self, first: Batch) -> Plan:
        guessed = max(int(labels.max()) + 1 if labels.numel() else 1 for labels in first.labels.values())
        return make_plan(
            [reading.features for reading in self.readings],
            classes=max((len(names) for names in self.class_names.values()), default=guessed),
            samples=self.loaders.most_samples,
            targets=len(first.labels),
            needs=self._needs(),
            budget=parse_memory(self.settings.memory),
            repeatable=self.loaders.repeatable,
        )

    def _needs(self) -> frozenset[str]:
        return frozenset(need for metric in self.metrics for need in metric.needs)

    def _request(self) -> Request:
        return Request(
            readings=self.readings,
            needs=self._needs(),
            classes={target: len(names) for target, names in self.class_names.items()},
            plan=self.plan,
            ridge=self.settings.ridge,
            nonfinite=self.settings.nonfinite,
            seed=self.settings.seed,
            probes=self.settings.probes,
        )

    def _identity(self) -> dict[str, Any]:
        """What is measured and on what, for a measurement that goes on after it was interrupted."""
        settings = self.settings
        return {
            "model": weight_hash(self.network.model),
            "layers": [[reading.name, reading.stated, reading.features] for reading in self.readings],
            "data": [self.loaders.name, self.loaders.fingerprint, *self.loaders.splits],
            "statistics": sorted(self._needs()),
            "classes": self._request().classes,
            "settings": [settings.ridge, settings.nonfinite, settings.seed, settings.probes],
            "layerwise": version("layerwise"),
        }

    def _numbers(self, result: SplitResult) -> dict[str, dict[tuple[str, str], np.ndarray]]:
        """Every metric of one split, by target and layer."""
        numbers: dict[str, dict[tuple[str, str], np.ndarray]] = {
            NETWORK_ERROR.name: {(target, ""): np.asarray(error) for target, error in result.errors.items()}
        }
        maps = next_linear(self._traced, self.layers)
        for reading in self.readings:
            weight = self._weight(maps.get(reading.name), reading)
            for target, classes in result.classes.items():
                evidence = dict(result.evidence[target, reading.name], convention=self.convention, next_map=weight)
                own = reading.layer.role == "features" and target in result.errors
                evidence["classifier"] = weight if own and weight is not None and len(weight) == classes else None
                for metric in self.metrics:
                    key = (target if "target" in metric.variable.dims else "", reading.name)
                    of_metric = numbers.setdefault(metric.name, {})
                    if key not in of_metric:
                        of_metric[key] = compute(metric, evidence, classes)
        return numbers

    def _weight(self, path: str | None, reading: Reading) -> np.ndarray | None:
        if path is None or reading.projection is not None:
            return None
        return weight_matrix(self.network.model.get_submodule(path), reading.features)

    def _all_class_names(self, results: Mapping[str, SplitResult]) -> dict[str, tuple[str, ...]]:
        counts: dict[str, int] = {}
        for result in results.values():
            for target, count in result.classes.items():
                counts[target] = max(count, counts.get(target, 0))
        return {target: self.class_names.get(target) or tuple(map(str, range(n))) for target, n in counts.items()}

    def _attributes(self, results: Mapping[str, SplitResult], seconds: float) -> dict[str, Any]:
        """How to get the profile again."""
        settings = self.settings
        with_classifier = sorted({target for result in results.values() for target in result.errors})
        parameter = next(self.network.model.parameters(), None)
        return {
            "model": self.model_name,
            "model_hash": weight_hash(self.network.model),
            "adapter": self.network.adapter.name,
            "data": self.loaders.name,
            "data_fingerprint": {split: result.fingerprint for split, result in results.items()},
            "samples": {split: result.samples for split, result in results.items()},
            "left_out": {split: result.left_out for split, result in results.items() if result.left_out},
            "absent_classes": {
                split: result.absent for split, result in results.items() if any(result.absent.values())
            },
            "classifier": with_classifier or "none: the network's own classifier does not have the target's classes",
            "layers": settings.layers if isinstance(settings.layers, str) else "chosen by the caller",
            "reduce": settings.reduce,
            "convention": self.convention.name,
            "ridge": settings.ridge,
            "seed": settings.seed,
            **({"probes": settings.probes} if "complexity" in self._needs() else {}),
            "precision": str(parameter.dtype).removeprefix("torch.") if parameter is not None else "none",
            "device": str(self.network.device),
            "plan": self.plan.reason,
            "passes": self.plan.passes,
            "forwards": self.plan.forwards,
            "seconds": round(seconds, 3),
            **environment(),
        }


def _warn_of_few_classes(result: SplitResult, split: str) -> None:
    for target, present in result.present.items():
        if present < 2:
            warnings.warn(
                f"split {split!r} has {present} class of target {target!r}; what compares classes is NaN there",
                stacklevel=4,
            )
