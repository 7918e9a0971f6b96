"""Model and data in, a profile out: the main job."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from layerwise.adapters.protocol import Batch
from layerwise.arguments import checked
from layerwise.data.peek import first_batch
from layerwise.errors import EmptyData, InvalidData, NotRepeatable, UnknownName, listed
from layerwise.evaluation.dataset import (
    CLASS_NETWORK_ERROR,
    NETWORK_ERROR,
    NETWORK_MIOU,
    NETWORK_MSE,
    Numbers,
    assemble_profile,
)
from layerwise.evaluation.evaluate import Evaluation
from layerwise.evaluation.projection_error import compare_with_span, error_variables, projected_metrics
from layerwise.evaluation.target_frames import check_frames, frames_told, select_with_frame
from layerwise.evaluation.uncertainty import error_variable, variables_of, with_chance
from layerwise.features.check import check_company
from layerwise.features.choose_readings import readings_of
from layerwise.features.fed_heads import find_fed_heads
from layerwise.features.padding import padding_of
from layerwise.features.pooling import Poolings, poolings_of
from layerwise.features.reading import LayerReading
from layerwise.features.reduction import DENSE
from layerwise.metrics import Metric, convention, needs_of, reached, select
from layerwise.network.failures import in_reading
from layerwise.network.graph.blocks import choose_among, find_blocks, without_samples
from layerwise.network.graph.head_inputs import heads_of
from layerwise.network.graph.linear_maps import head_paths, named_heads, next_linear, previous_linear
from layerwise.network.inference import kept_buffers
from layerwise.network.layer import Layer, chosen_text
from layerwise.network.resolve import find_network
from layerwise.network.rows import first_samples
from layerwise.network.weights import weight_hash
from layerwise.passes import LabelReplicates, PassRequest, SplitResult
from layerwise.passes.first_features import arithmetic_of
from layerwise.passes.labels_only import read_labels
from layerwise.passes.occurring_classes import held_classes
from layerwise.passes.plan import Plan, make_plan
from layerwise.passes.resume import DoesNotFit, ResumeState
from layerwise.passes.run_split import run_split
from layerwise.passes.vocabulary import vocabularies_of
from layerwise.passes.workload import Workload
from layerwise.profiling.attributes import (
    classes_told,
    line_of_empty_fits,
    lines_of,
    of_classes,
    of_targets,
    unseen_classes,
    warn_of_few_classes,
)
from layerwise.profiling.inputs import (
    check_classes_for,
    class_names,
    dimensions,
    find_loaders,
    names_of_labels,
    score_names,
)
from layerwise.profiling.positions import check_apart, most_samples, nothing_apart, of_positions
from layerwise.profiling.stated_heads import find_judges, score_layers
from layerwise.runtime.byte_sizes import parse_memory
from layerwise.runtime.distributed import (
    all_gather,
    broadcast,
    dealt_indices,
    is_secondary_process,
    is_shared,
    needs_sample_numbers,
)
from layerwise.runtime.environment import environment
from layerwise.runtime.progress import logger
from layerwise.schema import Variable
from layerwise.settings import ARGUMENTS, SETTINGS, Settings, chosen

if TYPE_CHECKING:
    import xarray as xr
    from torch import nn

__all__ = ["Profiler", "profile"]

# Samples that show which layers feed a head.
_FEW = 4


@checked(ARGUMENTS)
def profile(
    model: nn.Module | str,
    data: Any,
    *,
    device: str | torch.device | None = None,
    batch_size: int = 64,
    settings: Settings | None = None,
    resume_dir: ResumeState | str | os.PathLike[str] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Measure how far every layer of a network has collapsed, in one run of the data.

    Parameters
    ----------
    model : Module or str
        A network, or a name: ``timm/NAME``, ``hf/NAME`` or ``package.module:function``.
    data : str, loader, or mapping of split to loader
        A name such as ``"imagefolder:photos/"`` (`layerwise.data.read`), or whatever gives batches: ``(inputs,
        labels)`` or a mapping with labels; labels may be a mapping of several targets. Integers are classes, whatever
        the ids; floats, of shape ``(n,)`` or ``(n, q)``, are regression targets. Class means and fits come from the
        split ``train`` where there is one.
    device : str, optional
        Where to run; where the model is, by default.
    batch_size : int
        For data given by name.
    settings : Settings, optional
    resume_dir : ResumeState or path, optional
        A folder that keeps what was accumulated, minute by minute: a profile that was killed, and is asked for again,
        goes on from there to the same numbers, or is begun anew where data, network, settings or files are not what
        they were, and one line says why. The folder is gone when the profile is finished; a `ResumeState` is removed by
        the caller, who may have the profile to write first.
    **options
        Fields of `Settings`, such as ``layers="stages"`` or ``metrics=["nc1", "ncc_*"]``; they go before `settings`.

    Returns
    -------
    Dataset
        Dims ``(epoch, split, target, layer)``, with ``class`` for per-class variables; one epoch, number 0.

    Raises
    ------
    LayerwiseError
        For whatever the caller can mend: an unknown layer, labels outside the classes, an empty loader, a folder that
        another profile is writing to (`InUse`).

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> x, y = torch.randn(30, 8), torch.arange(30) % 3
    >>> ds = profile(net, [(x, y)], metrics=["nc1", "ncc_error"])
    >>> ds["nc1"].dims
    ('epoch', 'split', 'target', 'layer')
    """
    settings = chosen(settings, options, ("device", "batch_size", "settings", "resume_dir"))
    kept = resume_dir if resume_dir is None or isinstance(resume_dir, ResumeState) else ResumeState(resume_dir)
    with nullcontext() if kept is None else kept:
        measured = Profiler(model, data, settings, device=device, batch_size=batch_size).measure(resume_state=kept)
        if kept is not None and kept is not resume_dir:
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

    @checked(ARGUMENTS, settings=SETTINGS)
    def __init__(
        self,
        model: nn.Module | str,
        data: Any,
        settings: Settings,
        *,
        device: str | torch.device | None = None,
        batch_size: int = 64,
    ) -> None:
        self.settings = settings
        own = convention(settings.convention)
        self.convention = replace(own, debiased=own.debiased or settings.debiased)
        self.network, self.model_name = find_network(model, device, trust_remote_code=settings.trust_remote_code)
        with kept_buffers(self.network.model):
            self._prepare(data, batch_size)

    def _prepare(self, data: Any, batch_size: int) -> None:
        """Read the first batch, find the layers, and plan."""
        settings = self.settings
        self.loaders = find_loaders(data, self.network.model, self.network.adapter, batch_size)
        first = self._first_batch()
        self.targets = tuple(first.labels)
        self.dimensions = dimensions(first, settings.reduce)
        declared = class_names(settings.classes, self.loaders, self.targets, self.dimensions)
        self.class_names = ({} if settings.reduce in DENSE else names_of_labels(first)) | declared
        self._said: set[str] = set()
        self.metrics = self._select()
        check_classes_for(self.metrics, settings.metrics, first)
        check_frames(settings, self.targets, {target: len(names) for target, names in self.class_names.items()})
        check_apart(settings, self.dimensions, self._needs(), repeatable=self.loaders.repeatable)
        self._beforehand: dict[str, LabelReplicates] = {}
        if "complexity" in self._needs() and not self.loaders.repeatable:
            raise NotRepeatable("geometric complexity takes a second run of the data, and a loader runs only once")
        self._check_null()
        traced = self.network.trace(first)
        self._traced = traced.trace
        self._blocks = find_blocks(self._traced, self.network.head)
        if not traced.scored:
            self.network = replace(self.network, scores=self._scores())
        self._heads = dict(settings.heads or {})
        judges = find_judges(self._heads, self._traced, traced.outputs, self.targets)
        self.network = replace(self.network, heads=self._heads, judges=tuple(judges.values()))
        layers = choose_among(self._traced, self._blocks, settings.layers)
        if not layers:
            there = choose_among(self._traced, self._blocks, "all")
            raise UnknownName("layer", "chosen by " + chosen_text(settings.layers), (layer.name for layer in there))
        poolings = poolings_of(self.network, first)
        self.network_pooling, differs = poolings.told(layers)
        self.readings = readings_of(self.network, self._traced, layers, first, settings.reduce, settings.seed, poolings)
        if not self.readings:
            raise nothing_apart(settings.reduce, layers, first)
        self._evaluation = self._evaluate(layers, judges, first, poolings, traced.alone)
        shared = any(map(is_shared, self.loaders.splits.values()))
        self.plan = broadcast(self._plan(first), shared)
        self._checked = "no: check=False"
        if settings.check:
            self._checked = check_company(self.network, traced, self.readings, first, shared=shared)
        self._padding = padding_of(self.network, self._traced, self.readings, first)
        if not is_secondary_process():
            self._say(differs if settings.reduce == "auto" else "")

    def _evaluate(
        self, layers: Sequence[Layer], judges: Mapping[str, Layer], first: Batch, poolings: Poolings, alone: bool
    ) -> Evaluation:
        """Find the network's own maps beside the layers."""
        traced, settings = self._traced, self.settings
        asked = self._heads | {target: layer.path for target, layer in judges.items()}
        named = head_paths(traced, asked)
        heads = named_heads(traced, layers, asked)
        fed: set[tuple[str, str]] = set()
        if any({"classifier", "head"} & set(metric.needs) for metric in self.metrics):
            paths = heads_of(traced, self.network.head, list(named.values()))

            def read(inputs: Sequence[Layer]) -> list[LayerReading]:
                return readings_of(self.network, traced, inputs, first, settings.reduce, settings.seed, poolings)

            few = first_samples(first, _FEW) if alone else first
            fed = find_fed_heads(self.network, traced, self.readings, paths, few, read)
            heads |= {(name, layer): path for name, path in named.items() for of, layer in fed if of == path}
        return Evaluation(
            *(self.network.model, self.readings, settings, self.convention, self.dimensions),
            next_maps=next_linear(traced, layers),
            previous_maps=previous_linear(traced, layers),
            heads=heads,
            fed=fed,
        )

    def _say(self, differs: str) -> None:
        """Log what is measured, how, what of it is left out, and where pooling differs from the network's own."""
        for target, dimension in self.dimensions.items():
            logger.info("regression target %r of dimension %s", target, dimension)
        dropped = without_samples(self._traced, self._blocks, self.settings.layers)
        if dropped:
            logger.info("no axis follows the number of samples in %s: left out", listed([own.name for own in dropped]))
        if "counted" in self._padding:
            logger.warning("padding is %s", self._padding)
        if differs:
            logger.warning("%s", differs)
        logger.info("%s", self.plan.reason)

    @property
    def layers(self) -> list[Layer]:
        """The layers that are measured, in execution order."""
        return [reading.layer for reading in self.readings]

    @checked(ARGUMENTS)
    def measure(
        self, epoch: float = 0, step: int | None = None, *, resume_state: ResumeState | None = None
    ) -> xr.Dataset:
        """Measure the network as it is now.

        Parameters
        ----------
        epoch : int or float
            Label of the measurement along the dim ``epoch``.
        step : int, optional
            Training step; the epoch by default.
        resume_state : ResumeState, optional
            Where what is accumulated is kept, and goes on from.
        """
        with kept_buffers(self.network.model):
            return self._measure(epoch, step) if resume_state is None else self._go_on(epoch, step, resume_state)

    def _go_on(self, epoch: float, step: int | None, resume_state: ResumeState) -> xr.Dataset:
        """Measure, from where an earlier measurement was stopped; anew where that was of something else."""
        plan = self.plan
        with resume_state:
            try:
                return self._measure(epoch, step, resume_state)
            except DoesNotFit as reason:
                if not self.loaders.repeatable:
                    raise InvalidData(
                        f"{reason}, and a loader that runs once cannot begin anew: remove "
                        f"{resume_state.folder}, and give "
                        "the loader again"
                    ) from reason
                resume_state.begin_anew(str(reason))
                self.plan = plan
                return self._measure(epoch, step, resume_state)

    def _measure(self, epoch: float, step: int | None, resume_state: ResumeState | None = None) -> xr.Dataset:
        started = time.perf_counter()
        if resume_state is not None:
            shared = any(map(is_shared, self.loaders.splits.values()))
            self.plan = Plan(**resume_state.begin(self._identity(), asdict(self.plan), shared=shared))
        request = self._request()
        results: dict[str, SplitResult] = {}
        numbers: dict[str, dict[str, dict[tuple[str, str], np.ndarray]]] = {}
        next_maps: dict[str, str] = {}
        empty: dict[str, dict[str, list[str]]] = {}
        order = sorted(self.loaders.splits, key=lambda name: name != "train")
        for split in order:
            loader = self.loaders.splits[split]
            self._look(split, loader, request)
            results[split] = run_split(
                self.network, loader, request, split, results.get("train"), resume_state, self._beforehand.get(split)
            )
            warn_of_few_classes(results[split], split)
            for line in lines_of(results[split], split, self.class_names):
                self._tell(line)
            for line in unseen_classes(results[split], results.get("train"), split):
                self._tell(line)
            if split == order[-1]:
                # Nothing is judged by the training split any more.
                results[order[0]].release_references()
            empty[split] = self._evaluation.empty_fits(results[split], self.metrics)
            # Metrics without the dim `split` are measured on the first one.
            metrics = [metric for metric in self.metrics if not numbers or "split" in metric.variable.dims]
            measured = self._evaluation.all_numbers(results[split], metrics)
            numbers[split], next_maps = measured.numbers, measured.next_maps
            # The numbers are taken; of the statistics only what other splits are judged by stays.
            results[split].release_statistics()
        given, told = self._compare(request, results, numbers)
        splits = list(self.loaders.splits)
        empty = {split: own for split, own in empty.items() if own}
        self._warn_of_missing("fits", line_of_empty_fits(empty) if empty else "")
        attributes = self._attributes({split: results[split] for split in splits}, time.perf_counter() - started)
        return assemble_profile(
            {split: given[split] for split in splits},
            self.variables,
            self.readings,
            [request.narrowing(reading) for reading in self.readings],
            *self._classes(results),
            next_maps=list(next_maps.values()),
            epoch=epoch,
            step=int(epoch) if step is None else step,
            attributes=attributes | ({"empty_fits": empty} if empty else {}) | told,
        )

    def _compare(
        self, request: PassRequest, results: Mapping[str, SplitResult], numbers: Mapping[str, Numbers]
    ) -> tuple[Mapping[str, Numbers], dict[str, Any]]:
        """Numbers with the errors of a projection beside them, if there is one, and what is told of it."""
        projected = self._projected(request)
        if not projected:
            return numbers, {}
        compared = compare_with_span(self._evaluation, projected, results, numbers)
        self._warn_of_missing("projection", compared.line)
        return compared.numbers, compared.told

    def _projected(self, request: PassRequest) -> list[Metric]:
        """The metrics that come from a random projection in some layer."""
        classes = len(self.dimensions) < len(self.targets)
        applying = [metric for metric in self.metrics if self._applies(metric)]
        return projected_metrics(applying, classes=classes) if request.projected else []

    def _look(self, split: str, loader: Any, request: PassRequest) -> None:
        """Read the labels of a split beforehand, where that is needed and they are not known as they are now."""
        if request.positions or not (self.settings.null or (self.settings.jackknife and needs_sample_numbers(loader))):
            return
        known = self._beforehand.get(split)
        stale = known is None or known.indices != dealt_indices(loader)
        if any(all_gather(stale, is_shared(loader))):
            self._beforehand[split] = read_labels(self.network, loader, request, split)

    @property
    def variables(self) -> list[Variable]:
        """Everything that is measured."""
        settings = self.settings
        found = variables_of(self.metrics, errors=settings.jackknife > 0, chance=settings.null > 0)
        return [*self._of_network(), *found, *error_variables(self._projected(self._request()))]

    @property
    def told(self) -> dict[str, Any]:
        """The settings that change numbers, as a profile tells them: what was not asked for is not told."""
        settings = self.settings
        return {
            "reduce": settings.reduce,
            "convention": self.convention.name,
            "debiased": str(self.convention.debiased),
            "ridge": settings.ridge,
            "seed": settings.seed,
            **({"standardize": str(settings.standardize)} if self.dimensions else {}),
            **({"heads": self._heads} if self._heads else {}),
            **({"directions": settings.directions} if "complexity" in self._needs() else {}),
            **({"ignore_index": list(self._ignored)} if settings.reduce in DENSE else {}),
            **({"samples_per_class": settings.samples_per_class or "all"} if settings.reduce in DENSE else {}),
            **({"jackknife": settings.jackknife} if settings.jackknife else {}),
            **({"null": settings.null} if settings.null else {}),
        }

    def _reached(self) -> dict[str, Any]:
        """Which of the metrics that are measured the convention changes."""
        names = reached(self.convention)
        measured = [metric.name for metric in self.metrics if metric.name in names]
        return {"convention_reaches": measured} if names else {}

    @property
    def _ignored(self) -> tuple[int, ...]:
        return self.settings.ignored(max(map(len, self.class_names.values()), default=0))

    def _check_null(self) -> None:
        """Raise where nothing that is measured has a value by chance, or labels cannot be shuffled."""
        if not self.settings.null:
            return
        if not any(self._applies(metric) for metric in with_chance(self.metrics)):
            there = ", ".join(metric.name for metric in with_chance(select()) if self._applies(metric))
            raise InvalidData(
                "null= shuffles labels and targets, and no metric that was asked for depends on which goes with which "
                f"sample; of these targets do {there}"
            )
        if not self.loaders.repeatable:
            raise NotRepeatable("null= reads the labels before the network runs, and a loader runs only once")

    def _first_batch(self) -> Batch:
        split, loader = next(iter(self.loaders.splits.items()))
        with in_reading(split, "a first look", 0):
            raw = first_batch(loader)
            batch = None if raw is None else self.network.batch(raw)
        if batch is None or not batch.size:
            raise EmptyData(f"split {split!r} is empty: its loader gave no batch")
        return batch

    def _scores(self) -> Layer | None:
        """The layer of the class scores, for a network whose output does not say which they are; None for several."""
        found = score_layers(self._blocks)
        if len(found) > 1 and len(self.targets) == 1 and not self.settings.heads:
            names = listed([repr(layer.name) for layer in found])
            self._tell(f"{names} give as many scores: heads={{{self.targets[0]!r}: name}} says whose they are")
            return None
        return found[-1] if found else None

    def _plan(self, first: Batch) -> Plan:
        settings = self.settings
        declared = {target: len(names) for target, names in self.class_names.items()}
        of_classes = [target for target in self.targets if target not in self.dimensions]
        held = held_classes(self.network, self.loaders.splits, first, of_classes, declared, settings, self._ignored)
        classes = max(held.values(), default=1)
        work = Workload(
            widths=[reading.features for reading in self.readings],
            classes=classes,
            samples=most_samples(settings, self.loaders.most_samples, self.readings, classes),
            targets=len(held),
            dimensions=list(self.dimensions.values()),
            needs=self._needs(),
            metrics=[metric for metric in self.metrics if self._applies(metric)],
            batch=first.size,
            positions=settings.reduce in DENSE,
            repeatable=self.loaders.repeatable,
            replicates=settings.jackknife + (settings.null if settings.reduce == "pixels" else 0),
            shuffles=0 if settings.reduce == "pixels" else settings.null,
            splits=len(self.loaders.splits),
        )
        return make_plan(work, parse_memory(settings.memory))

    def _select(self) -> list[Metric]:
        """The metrics that were asked for; of all of them those that the targets have."""
        chosen = select_with_frame(self.settings)
        return chosen if self.settings.metrics is not None else [item for item in chosen if self._applies(item)]

    def _applies(self, metric: Metric) -> bool:
        return metric.applies(classes=len(self.dimensions) < len(self.targets), regression=bool(self.dimensions))

    def _of_network(self) -> list[Variable]:
        """What is told of the network itself."""
        with_classes = len(self.dimensions) < len(self.targets)
        found = [NETWORK_ERROR] * with_classes
        found += [CLASS_NETWORK_ERROR, NETWORK_MIOU] * (with_classes and self.settings.reduce in DENSE)
        found += [NETWORK_MSE] * bool(self.dimensions)
        return found + [error_variable(own) for own in found if self.settings.jackknife]

    def _needs(self) -> frozenset[str]:
        needs = needs_of([metric for metric in self.metrics if self._applies(metric)], self.convention)
        # Without classes, what knows no target is measured from the same statistics as regression.
        return frozenset(needs if len(self.dimensions) < len(self.targets) else needs | {"regression"})

    def _request(self) -> PassRequest:
        return PassRequest(
            readings=self.readings,
            needs=self._needs(),
            targets=self.targets,
            classes={target: len(names) for target, names in self.class_names.items()},
            plan=self.plan,
            settings=self.settings,
            vocabularies=vocabularies_of(
                self.targets,
                self.dimensions,
                {target: len(names) for target, names in self.class_names.items()},
                # A frame has a vector for each of them.
                every=self.settings.frame is not None,
            ),
            names=self.class_names,
            score_names=score_names(self.network.model),
            dimensions=self.dimensions,
        )

    def _identity(self) -> dict[str, Any]:
        """What is measured and on what, for a measurement that goes on after it was interrupted."""
        settings, request = self.settings, self._request()
        return {
            "model": weight_hash(self.network.model),
            "layers": [[reading.name, reading.stated, reading.features] for reading in self.readings],
            "data": [self.loaders.name, self.loaders.fingerprint, *self.loaders.splits],
            "statistics": sorted(self._needs()),
            "targets": list(self.targets),
            "classes": request.classes,
            "reduction": [settings.reduce, request.ignored, settings.samples_per_class],
            "dimensions": self.dimensions,
            "settings": [settings.ridge, settings.nonfinite, settings.seed, settings.directions, settings.standardize],
            "precision": arithmetic_of(self.network.device),
            "jackknife or null": [settings.jackknife, settings.null],
            "heads": self._heads,
            "layerwise": version("layerwise"),
        }

    def _classes(self, results: Mapping[str, SplitResult]) -> tuple[dict[str, tuple[str, ...]], dict[str, np.ndarray]]:
        """Names of the classes of every target in the order of their ids, and the place of every row among them."""
        ids = {target: own for result in results.values() for target, own in result.ids.items()}
        # Declared classes have a place each, whether they occur or not.
        places = {t: own if t in self.class_names else own.argsort().argsort() for t, own in ids.items()}
        named = {target: self.class_names.get(target) or tuple(map(str, np.sort(own))) for target, own in ids.items()}
        return {target: named.get(target, ()) for target in [*self.targets, *named]}, places

    def _tell(self, line: str) -> None:
        """Say a line, once."""
        if line not in self._said and not is_secondary_process():
            logger.warning("%s", line)
        self._said.add(line)

    def _attributes(self, results: Mapping[str, SplitResult], seconds: float) -> dict[str, Any]:
        """How to get the profile again."""
        settings = self.settings
        parameter = next(self.network.model.parameters(), None)
        return {
            "model": self.model_name,
            "model_hash": weight_hash(self.network.model),
            "adapter": self.network.adapter.name,
            "data": self.loaders.name,
            **({"data_notes": notes} if (notes := list(self.loaders.notes)) else {}),
            "data_fingerprint": {split: result.fingerprint for split, result in results.items()},
            **({"source_fingerprint": self.loaders.fingerprint} if self.loaders.fingerprint else {}),
            **({"preprocessing": self.loaders.preprocessing} if self.loaders.preprocessing else {}),
            "classes": classes_told(self._classes(results)[0], self.dimensions),
            "label_fingerprint": {split: result.label_fingerprint for split, result in results.items()},
            "samples": {split: result.samples for split, result in results.items()},
            "left_out": {split: result.left_out for split, result in results.items() if result.left_out},
            **of_classes(results, self.class_names),
            **of_targets(results, self.dimensions),
            **of_positions(self._request(), results),
            "layers": chosen_text(settings.layers),
            **self.told,
            **self._reached(),
            **self._order(results),
            "network_pooling": self.network_pooling,
            **frames_told(self.settings, next(iter(results.values())).classes),
            "checked": self._checked,
            "padding": self._padding,
            "precision": str(parameter.dtype).removeprefix("torch.") if parameter is not None else "none",
            "device": str(self.network.device),
            "plan": self.plan.reason,
            "passes": self.plan.passes,
            "forwards": self.plan.forwards,
            "seconds": round(seconds, 3),
            **environment(),
        }

    def _order(self, results: Mapping[str, SplitResult]) -> dict[str, Any]:
        """In which order the samples of several processes were counted, where that makes a difference."""
        known = {split: result.order for split, result in results.items()}
        known |= {split: own.order for split, own in self._beforehand.items()}
        found = {split: order for split, order in known.items() if order}
        return {"sample_order": found} if found else {}

    def _warn_of_missing(self, kind: str, line: str) -> None:
        """Say once of each kind what is NaN and why, if anything is; warn where it was asked for."""
        if not line or kind in self._said:
            return
        self._said.add(kind)
        if self.settings.metrics is not None:
            warnings.warn(line, stacklevel=4)
        else:
            self._tell(line)
