"""Pass 2 as one measurement sees it: every sample from the class means, and judged by the probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from layerwise.features.reading import LayerReading
from layerwise.features.sketch import Sketch
from layerwise.passes.reference import reference_of
from layerwise.passes.request import PassRequest
from layerwise.passes.result import Key, SplitResult
from layerwise.passes.spans import Span
from layerwise.passes.target_views import TargetViews, count_in_both
from layerwise.statistics import (
    CenterProjections,
    Centers,
    FourthMoment,
    ProbeErrors,
    State,
    noise_variance,
    restore,
    state_of,
)
from layerwise.statistics.merging import merge_across_processes

__all__ = ["NearestClasses", "SecondAccumulator"]

#: The nearest classes of a batch by target and layer, and the samples that these belong to; None for all.
NearestClasses = dict[Key, tuple[Tensor, Tensor | None]]


class SecondAccumulator:
    """Accumulates pass 2 over the samples that one measurement sees into its evidence.

    Parameters
    ----------
    request : PassRequest
    result : SplitResult
        The result of pass 1 over the same samples.
    train : SplitResult
        The split that judges; the same object for the training split.
    sketches : mapping of str to Sketch or None
        The projection that each layer's covariance is taken of.
    device : device
        Where what has no sample yet is accumulated.
    spans : mapping of str to Span
        Isometries of wide layers of few samples.
    """

    def __init__(
        self,
        request: PassRequest,
        result: SplitResult,
        train: SplitResult,
        sketches: Mapping[str, Sketch | None],
        device: torch.device,
        spans: Mapping[str, Span] = MappingProxyType({}),
    ) -> None:
        self.request = request
        self.result = result
        self.train = train
        self.device = device
        self.sketches = sketches
        self.spans = spans
        self.projections: dict[Key, CenterProjections] = {}
        self.probes: dict[Key, ProbeErrors] = {}
        self.fourths: dict[Key, FourthMoment] = {}

    def update(
        self,
        reading: LayerReading,
        features: Tensor,
        narrow: Callable[[], Tensor],
        kept: Tensor | None,
        views: TargetViews,
    ) -> NearestClasses:
        """Take in the features of one layer; return the nearest classes.

        Parameters
        ----------
        reading : LayerReading
        features : Tensor
            Shape ``(n, d)``.
        narrow : callable
            Returns what the covariance is taken of.
        kept : Tensor or None
            The samples whose features are finite.
        views : dict of str to TargetView
        """
        nearest: NearestClasses = {}
        for target, (labels, counts) in views.items():
            key = (target, reading.name)
            if not self._open(key, features.device):
                continue
            rows = count_in_both(kept, counts)
            labels, counted = labels.to(features.device), features
            if rows is not None:
                rows = rows.to(features.device)
                labels, counted = labels[rows], features[rows]
            nearest[key] = (self._project(key, counted, labels), rows)
            if key in self.fourths:
                self.fourths[key].update(narrow() if rows is None else narrow()[rows])
        return nearest

    def _project(self, key: Key, features: Tensor, labels: Tensor) -> Tensor:
        """Take in some samples of one target and layer, a few at a time; return their nearest classes."""
        step = self.projections[key].at_a_time
        parts = []
        for some, some_labels in zip(features.split(step), labels.split(step), strict=True):
            classes, scores = self.projections[key].update(some, some_labels)
            parts.append(classes)
            if scores is not None:
                self.probes[key].update(scores, some_labels)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def open_wide(self) -> None:
        """Make the accumulators of wide layers."""
        # Features that wait are read on the CPU.
        device = torch.device("cpu") if self.request.plan.keeps_features else self.device
        for key in sorted(key for key in self.result.evidence if key[1] in self.spans):
            self._open(key, device)

    def compare(self, nearest: NearestClasses, predictions: Mapping[str, Tensor]) -> None:
        """Count where the nearest class is not the one that the network predicts for the target."""
        for key, (classes, rows) in nearest.items():
            if key[0] in predictions and key[0] in self.result.errors:
                predicted = predictions[key[0]].to(classes.device)
                self.projections[key].compare(classes, predicted if rows is None else predicted[rows])

    def state(self) -> State:
        """Return what was accumulated so far."""
        return {
            "projections": {key: state_of(projections) for key, projections in self.projections.items()},
            "probes": {key: state_of(probe) for key, probe in self.probes.items()},
            "fourths": {key: state_of(fourth) for key, fourth in self.fourths.items()},
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        for key, projections in state["projections"].items():
            self._open(key, self.device)
            restore(self.projections[key], projections, self.device)
        for key, probe in state["probes"].items():
            restore(self.probes[key], probe, self.device)
        for key, fourth in state["fourths"].items():
            restore(self.fourths[key], fourth, self.device)

    def finish(self, reading: LayerReading, shared: bool) -> None:
        """Put what was accumulated of one layer into the evidence, with that of other processes if they share it."""
        for key, evidence in self.result.evidence.items():
            if key[1] != reading.name or "moments" not in evidence or not self._open(key, self.device):
                continue
            evidence["span"], evidence["nearest"] = _merged(self.projections.pop(key), shared).finish()
            if "noise" in self.request.needs:
                covariance = self.result.covariance(key)
                width = covariance.means.shape[1] if reading.name in self.spans else reading.features
                evidence["span"] = replace(evidence["span"], noise=noise_variance(covariance, width))
            if key in self.probes:
                probe, reference = self.probes.pop(key), self.train.references[key].probe
                assert reference is not None
                make = partial(ProbeErrors, reference, probe.errors.device)
                evidence["probe"] = merge_across_processes(probe, make, probe.errors.device, shared).finish()
            if key in self.fourths:
                moment, covariance = self.fourths.pop(key), evidence["covariance"]
                make_moment = partial(FourthMoment, covariance, moment.total.device)
                fourth = merge_across_processes(moment, make_moment, moment.total.device, shared).finish()
                evidence["covariance"] = replace(covariance, fourth=fourth)

    def _open(self, key: Key, device: torch.device) -> bool:
        """Make the accumulators of a layer unless they exist; return whether there is anything to judge."""
        if key in self.projections:
            return True
        itself = self.train is self.result
        if key not in self.result.evidence or not (itself or key in self.train.references):
            return False
        target, layer = key
        classes = max(self.result.classes[target], self.train.classes[target])
        centers = Centers.of(self.result.evidence[key]["moments"], classes, device)
        if itself:
            narrowing = self.spans.get(layer, self.sketches[layer])
            self.result.references[key] = reference_of(self.result, key, centers, narrowing, self.request)
            centers = self.result.references[key].centers
        reference = self.train.references[key]
        judging = centers if itself else reference.centers.covering(classes)
        self.projections[key] = CenterProjections(centers, judging, reference.probe)
        if reference.probe is not None:
            self.probes[key] = ProbeErrors(reference.probe, device)
        if "fourth" in self.request.needs:
            self.fourths[key] = FourthMoment(self.result.evidence[key]["covariance"], device)
        return True


def _merged(projections: CenterProjections, shared: bool) -> CenterProjections:
    make = partial(CenterProjections, projections.own, projections.train, projections.judge)
    return merge_across_processes(projections, make, projections.scatter.device, shared)
