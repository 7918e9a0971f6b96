"""Pass 2 as one measurement sees it: every sample from the class means, and judged by the probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor

from layerwise.features.reading import LayerReading
from layerwise.features.sketch import Sketch
from layerwise.passes.judged_sums import JudgedSums
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
)

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
        self.sums: dict[Key, JudgedSums] = {}

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
            nearest[key] = (self.sums[key].update(counted, labels), rows)
            if (fourth := self.sums[key].fourth) is not None:
                fourth.update(narrow() if rows is None else narrow()[rows])
        return nearest

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
                self.sums[key].projections.compare(classes, predicted if rows is None else predicted[rows])

    def state(self) -> State:
        """Return what was accumulated so far."""
        return {"sums": {key: sums.state() for key, sums in self.sums.items()}}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        for key, sums in state["sums"].items():
            self._open(key, self.device)
            self.sums[key].restore(sums, self.device)

    def finish(self, reading: LayerReading, shared: bool) -> None:
        """Put what was accumulated of one layer into the evidence, with that of other processes if they share it."""
        for key, evidence in self.result.evidence.items():
            if key[1] != reading.name or "moments" not in evidence or not self._open(key, self.device):
                continue
            sums = self.sums.pop(key)
            evidence["span"], evidence["nearest"] = sums.merged_projections(shared).finish()
            if "noise" in self.request.needs:
                covariance = self.result.covariance(key)
                width = covariance.means.shape[1] if reading.name in self.spans else reading.features
                evidence["span"] = replace(evidence["span"], noise=noise_variance(covariance, width))
            probe = sums.merged_probe(self.train.references[key].probe, shared)
            if probe is not None:
                evidence["probe"] = probe.finish()
            if sums.fourth is not None:
                fourth = sums.merged_fourth(evidence["covariance"], shared)
                evidence["covariance"] = replace(evidence["covariance"], fourth=fourth.finish())

    def _open(self, key: Key, device: torch.device) -> bool:
        """Make the accumulators of a layer unless they exist; return whether there is anything to judge."""
        if key in self.sums:
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
        self.sums[key] = JudgedSums(
            CenterProjections(centers, judging, reference.probe),
            None if reference.probe is None else ProbeErrors(reference.probe, device),
            FourthMoment(self.result.evidence[key]["covariance"], device) if "fourth" in self.request.needs else None,
        )
        return True
