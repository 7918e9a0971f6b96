"""The middle of a measurement: run the passes over every split, and compute its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from layerwise.evaluation.dataset import Numbers
from layerwise.evaluation.projection_error import compare_with_span
from layerwise.network.network import Network
from layerwise.passes import LabelReplicates, PassRequest, SplitResult
from layerwise.passes.labels_only import read_labels
from layerwise.passes.resume import ResumeState
from layerwise.passes.run_split import run_split
from layerwise.profiling.notices import Notices, lines_of_split, warn_of_few_classes, warn_of_missing
from layerwise.profiling.prepared import Prepared
from layerwise.profiling.request import projected_of
from layerwise.runtime.distributed import all_gather, dealt_indices, is_shared, needs_sample_numbers

__all__ = ["KnownLabels", "Measured", "measure_splits", "with_projection_errors"]


class KnownLabels:
    """Labels that are read before the network runs, kept for as long as the samples come in the same order."""

    def __init__(self) -> None:
        self._by_split: dict[str, LabelReplicates] = {}

    def of(self, network: Network, loader: Iterable[Any], request: PassRequest, split: str) -> LabelReplicates | None:
        """Return the labels of a split, read if need be; None where they are not needed beforehand."""
        settings = request.settings
        if request.positions or not (settings.null or (settings.jackknife and needs_sample_numbers(loader))):
            return self._by_split.get(split)
        known = self._by_split.get(split)
        stale = known is None or known.indices != dealt_indices(loader)
        if any(all_gather(stale, is_shared(loader))):
            self._by_split[split] = read_labels(network, loader, request, split)
        return self._by_split[split]

    @property
    def orders(self) -> dict[str, str]:
        """In which order the samples of each split were counted."""
        return {split: labels.order for split, labels in self._by_split.items()}


@dataclass(frozen=True)
class Measured:
    """The numbers of every split, the training split first.

    Attributes
    ----------
    results : mapping of split to SplitResult
        Without the statistics that the numbers come from.
    numbers : mapping of split to Numbers
    next_maps : mapping of str to str
        Names of the linear maps that read each layer.
    empty_fits : mapping
        Layers of no more samples than features, by split and by the fit that is NaN there.
    """

    results: Mapping[str, SplitResult]
    numbers: Mapping[str, Numbers]
    next_maps: Mapping[str, str]
    empty_fits: Mapping[str, Mapping[str, list[str]]]

    def sample_order(self, known: KnownLabels) -> dict[str, str]:
        """In which order the samples of several processes were counted, for splits where that makes a difference."""
        orders = {split: result.order for split, result in self.results.items()} | known.orders
        return {split: order for split, order in orders.items() if order}


def measure_splits(
    prepared: Prepared,
    request: PassRequest,
    known: KnownLabels,
    notices: Notices,
    resume_state: ResumeState | None = None,
) -> Measured:
    """Run the passes over every split, and compute its numbers before the next one takes memory.

    Parameters
    ----------
    prepared : Prepared
    request : PassRequest
    known : KnownLabels
    notices : Notices
    resume_state : ResumeState, optional
        Where what is accumulated is kept, and resumed from.
    """
    evaluation, metrics, splits = prepared.layers.evaluation, prepared.metrics.metrics, prepared.inputs.loaders.splits
    results: dict[str, SplitResult] = {}
    numbers: dict[str, Numbers] = {}
    next_maps: dict[str, str] = {}
    empty: dict[str, dict[str, list[str]]] = {}
    order = sorted(splits, key=lambda name: name != "train")
    for split in order:
        train = results.get("train")
        result = results[split] = _run(prepared, request, split, train, known, resume_state)
        warn_of_few_classes(result, split)
        for line in lines_of_split(result, train, split, prepared.inputs.class_names):
            notices.log(line)
        if split == order[-1]:
            # No later split is judged by the training split.
            results[order[0]].release_references()
        empty[split] = evaluation.empty_fits(result, metrics)
        # Metrics without the dim `split` are measured on the first one.
        of_split = [metric for metric in metrics if not numbers or "split" in metric.variable.dims]
        measured = evaluation.all_numbers(result, of_split)
        numbers[split], next_maps = measured.numbers, measured.next_maps
        # Only the statistics that judge other splits are still needed.
        result.release_statistics()
    return Measured(results, numbers, next_maps, {split: fits for split, fits in empty.items() if fits})


def with_projection_errors(
    prepared: Prepared, request: PassRequest, measured: Measured, notices: Notices
) -> tuple[Mapping[str, Numbers], dict[str, Any]]:
    """Return the numbers with the errors of a random projection, if there is one, and the attributes on it."""
    projected = projected_of(prepared, request)
    if not projected:
        return measured.numbers, {}
    compared = compare_with_span(prepared.layers.evaluation, projected, measured.results, measured.numbers)
    warn_of_missing(notices, "projection", compared.line, asked=prepared.settings.metrics is not None)
    return compared.numbers, compared.told


def _run(
    prepared: Prepared,
    request: PassRequest,
    split: str,
    train: SplitResult | None,
    known: KnownLabels,
    resume_state: ResumeState | None,
) -> SplitResult:
    network, loader = prepared.layers.network, prepared.inputs.loaders.splits[split]
    labels = known.of(network, loader, request, split)
    return run_split(network, loader, request, split, train, resume_state, labels)
