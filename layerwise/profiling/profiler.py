"""Model and data in, a profile out: the main job."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Unpack

from layerwise.adapters.protocol import Batch
from layerwise.arguments import NAME, checked, optional
from layerwise.errors import InvalidData, listed
from layerwise.evaluation.dataset import assemble_profile
from layerwise.evaluation.projection_error import error_variables
from layerwise.features.check import check_company
from layerwise.features.padding import padding_of
from layerwise.features.reading import LayerReading
from layerwise.network.inference import kept_buffers
from layerwise.network.layer import Layer
from layerwise.network.network import Network
from layerwise.network.resolve import find_network
from layerwise.passes import PassRequest
from layerwise.passes.plan import Plan
from layerwise.passes.resume import DoesNotFit, ResumeState
from layerwise.profiling.attributes import classes_in_order, profile_attributes, run_attributes
from layerwise.profiling.inputs import Loaders
from layerwise.profiling.layer_selection import LayerSelection, select_layers
from layerwise.profiling.measure import KnownLabels, measure_splits, with_projection_errors
from layerwise.profiling.metric_selection import metric_variables, select_metrics
from layerwise.profiling.notices import Notices, empty_fits_line, warn_of_missing
from layerwise.profiling.prepare import Inputs, prepare_inputs
from layerwise.profiling.prepared import FeatureChecks, Prepared
from layerwise.profiling.request import pass_request, plan_passes, projected_of, resumed_plan
from layerwise.runtime.distributed import is_secondary_process
from layerwise.runtime.progress import logger
from layerwise.schema import Variable
from layerwise.settings import ARGUMENTS, Settings, SettingsOptions, merge_settings

if TYPE_CHECKING:
    import torch
    import xarray as xr
    from torch import nn

__all__ = ["Profiler", "profile", "resume_state_of"]


@checked(ARGUMENTS)
def profile(
    model: nn.Module | str,
    data: Any,
    *,
    device: str | torch.device | None = None,
    batch_size: int = 64,
    settings: Settings | None = None,
    resume_dir: ResumeState | str | os.PathLike[str] | None = None,
    **options: Unpack[SettingsOptions],
) -> xr.Dataset:
    """Measure how far every layer of a network has collapsed, in one run of the data.

    Parameters
    ----------
    model : Module or str
        A network, or a name: ``timm/NAME``, ``hf/NAME`` or ``package.module:function``.
    data : str, loader, or mapping of split to loader
        A name such as ``"imagefolder:photos/"`` (`layerwise.data.read`), or an iterable of batches: ``(inputs,
        labels)`` or a mapping with labels; labels may be a mapping of several targets. Integers are classes, whatever
        the ids; floats, of shape ``(n,)`` or ``(n, q)``, are regression targets. Class means and fits come from the
        split ``train`` if there is one.
    device : str or device, optional
        Where to run; by default, where the model is.
    batch_size : int
        Samples in a batch of data given by name.
    settings : Settings, optional
        What to measure, and how.
    resume_dir : ResumeState or path, optional
        A folder that keeps the accumulated statistics, minute by minute. If a profile is killed, the same call resumes
        from there and ends with the same numbers. It begins anew, and logs why, if data, network, settings or files
        have changed. The folder is removed when the profile is finished; a `ResumeState` is left to the caller, who may
        write the profile first.
    **options
        Fields of `Settings`, such as ``layers="stages"`` or ``metrics=["nc1", "ncc_*"]``; they replace those of
        `settings`.

    Returns
    -------
    Dataset
        Dims ``(epoch, split, target, layer)``, with ``class`` for per-class variables; one epoch, number 0.

    Raises
    ------
    LayerwiseError
        For mistakes that the caller can mend: an unknown layer, labels outside the classes, an empty loader, a folder
        that another profile is writing to (`InUse`).

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> x, y = torch.randn(30, 8), torch.arange(30) % 3
    >>> ds = profile(net, [(x, y)], metrics=["nc1", "ncc_error"])
    >>> ds["nc1"].dims
    ('epoch', 'split', 'target', 'layer')
    """
    settings = merge_settings(settings, options, ("device", "batch_size", "settings", "resume_dir"))
    resume_state = resume_state_of(resume_dir)
    with resume_state or nullcontext():
        profiler = Profiler(model, data, device=device, batch_size=batch_size, settings=settings)
        measured = profiler.measure(resume_state=resume_state)
        if resume_state is not None and resume_state is not resume_dir:
            resume_state.remove()
    return measured


def resume_state_of(resume_dir: ResumeState | str | os.PathLike[str] | None) -> ResumeState | None:
    """Return the resume state that is kept in a folder."""
    return resume_dir if resume_dir is None or isinstance(resume_dir, ResumeState) else ResumeState(resume_dir)


class Profiler:
    """A network, its data and its chosen layers, ready to be measured any number of times.

    Parameters
    ----------
    model, data, device, batch_size, settings, **options
        As for `profile`.
    model_name : str, optional
        What the profile calls the network; by default, the name that the network has.

    Attributes
    ----------
    prepared : Prepared
        Inputs, metrics and layers.
    plan : Plan
        The passes of the next measurement.
    """

    @checked(ARGUMENTS, model_name=optional(NAME))
    def __init__(
        self,
        model: nn.Module | str,
        data: Any,
        *,
        device: str | torch.device | None = None,
        batch_size: int = 64,
        settings: Settings | None = None,
        model_name: str | None = None,
        **options: Unpack[SettingsOptions],
    ) -> None:
        settings = merge_settings(settings, options, ("device", "batch_size", "settings", "model_name"))
        network, found_name = find_network(model, device, trust_remote_code=settings.trust_remote_code)
        with kept_buffers(network.model):
            inputs, first = prepare_inputs(network, data, settings, batch_size)
            metrics = select_metrics(settings, inputs, first)
            layers = select_layers(network, settings, inputs, metrics, first)
            self.plan = plan_passes(settings, inputs, metrics, layers, first)
            checks = _check_features(settings, inputs, layers, first)
        self.prepared = Prepared(settings, model_name or found_name, inputs, metrics, layers, checks)
        self._labels = KnownLabels()
        self._notices = Notices()
        if not is_secondary_process():
            _log_prepared(self.prepared, self.plan)

    @property
    def settings(self) -> Settings:
        """What is measured, and how."""
        return self.prepared.settings

    @property
    def network(self) -> Network:
        """The network that is measured."""
        return self.prepared.layers.network

    @property
    def loaders(self) -> Loaders:
        """The data that it is measured on."""
        return self.prepared.inputs.loaders

    @property
    def readings(self) -> list[LayerReading]:
        """How each layer becomes features, in execution order."""
        return self.prepared.layers.readings

    @property
    def layers(self) -> list[Layer]:
        """The layers that are measured, in execution order."""
        return self.prepared.layers.layers

    @property
    def variables(self) -> list[Variable]:
        """Every variable of the profile."""
        return _variables(self.prepared, pass_request(self.prepared, self.plan))

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
            Where what is accumulated is kept, and resumed from.
        """
        with kept_buffers(self.network.model):
            if resume_state is None:
                return self._measure(epoch, step)
            with resume_state:
                return self._resume(epoch, step, resume_state)

    def _resume(self, epoch: float, step: int | None, resume_state: ResumeState) -> xr.Dataset:
        """Resume a measurement that was stopped; begin anew where the saved one is of something else."""
        plan = self.plan
        try:
            return self._measure(epoch, step, resume_state)
        except DoesNotFit as reason:
            if not self.loaders.repeatable:
                raise InvalidData(
                    f"{reason}, and a loader that runs once cannot begin anew: remove {resume_state.folder}, and give "
                    "the loader again"
                ) from reason
            resume_state.begin_anew(str(reason))
            self.plan = plan
            return self._measure(epoch, step, resume_state)

    def _measure(self, epoch: float, step: int | None, resume_state: ResumeState | None = None) -> xr.Dataset:
        started = time.perf_counter()
        if resume_state is not None:
            self.plan = resumed_plan(self.prepared, self.plan, resume_state)
        request = pass_request(self.prepared, self.plan)
        measured = measure_splits(self.prepared, request, self._labels, self._notices, resume_state)
        numbers, projection = with_projection_errors(self.prepared, request, measured, self._notices)
        asked = self.settings.metrics is not None
        warn_of_missing(self._notices, "fits", empty_fits_line(measured.empty_fits), asked=asked)
        splits = list(self.loaders.splits)
        results = {split: measured.results[split] for split in splits}
        attributes = profile_attributes(self.prepared, self.plan, results, measured.sample_order(self._labels))
        attributes |= run_attributes(time.perf_counter() - started)
        return assemble_profile(
            {split: numbers[split] for split in splits},
            _variables(self.prepared, request),
            self.readings,
            [request.narrowing(reading) for reading in self.readings],
            *classes_in_order(self.prepared.inputs, measured.results),
            next_maps=list(measured.next_maps.values()),
            epoch=epoch,
            step=int(epoch) if step is None else step,
            attributes=attributes | ({"empty_fits": measured.empty_fits} if measured.empty_fits else {}) | projection,
        )


def _check_features(settings: Settings, inputs: Inputs, layers: LayerSelection, first: Batch) -> FeatureChecks:
    """Check what the features of a sample depend on, and find what becomes of padding."""
    network, readings = layers.network, layers.readings
    company = "no: check=False"
    if settings.check:
        company = check_company(network, layers.traced, readings, first, shared=inputs.shared)
    return FeatureChecks(company, padding_of(network, layers.traced.trace, readings, first))


def _log_prepared(prepared: Prepared, plan: Plan) -> None:
    """Log the regression targets, the layers that are left out, where pooling differs, and the plan."""
    for target, dimension in prepared.inputs.dimensions.items():
        logger.info("regression target %r of dimension %s", target, dimension)
    if dropped := prepared.layers.without_samples:
        names = listed([layer.name for layer in dropped])
        logger.info("no axis follows the number of samples in %s: left out", names)
    if "counted" in prepared.checks.padding:
        logger.warning("padding is %s", prepared.checks.padding)
    if prepared.settings.reduce == "auto" and prepared.layers.pooling_difference:
        logger.warning("%s", prepared.layers.pooling_difference)
    logger.info("%s", plan.reason)


def _variables(prepared: Prepared, request: PassRequest) -> list[Variable]:
    errors = error_variables(projected_of(prepared, request))
    return [*metric_variables(prepared.settings, prepared.inputs, prepared.metrics), *errors]
