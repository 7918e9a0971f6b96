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
from layerwise.passes.replicates import TargetView, all_of
from layerwise.passes.request import PassRequest
from layerwise.passes.result import Key, Reference, SplitResult
from layerwise.passes.spans import Span
from layerwise.statistics import (
    CenterProjections,
    Centers,
    FourthMoment,
    Moments,
    ProbeErrors,
    State,
    fit_ridge,
    noise_variance,
    restore,
    state_of,
)
from layerwise.statistics.merging import merge_across_processes

__all__ = ["Judged", "SecondAccumulator"]

#: The nearest classes of a batch by target and layer, and the samples that they are of; None for all.
Judged = dict[Key, tuple[Tensor, Tensor | None]]


class SecondAccumulator:
    """Accumulates pass 2 over the samples that one measurement sees into its evidence.

    Parameters
    ----------
    request : Request
    result : SplitResult
        Of pass 1 over the same samples.
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
        seen: Mapping[str, TargetView],
    ) -> Judged:
        """Take in the features of one layer; gives the nearest classes.

        Parameters
        ----------
        reading : Reading
        features : Tensor
            Shape ``(n, d)``.
        narrow : callable
            Gives what the covariance is taken of.
        kept : Tensor or None
            The samples whose features are finite.
        seen : mapping of str to Seen
            What is seen of every target.
        """
        nearest: Judged = {}
        for target, (labels, counts) in seen.items():
            key = (target, reading.name)
            if not self._open(key, features.device):
                continue
            rows = all_of(kept, counts)
            rows = None if rows is None else rows.to(features.device)
            own = labels.to(features.device)
            own, of_rows = (own, features) if rows is None else (own[rows], features[rows])
            step = self.projections[key].at_a_time
            found = []
            for few, of_few in zip(of_rows.split(step), own.split(step), strict=True):
                classes, scores = self.projections[key].update(few, of_few)
                found.append(classes)
                if scores is not None:
                    self.probes[key].update(scores, of_few)
            nearest[key] = (torch.cat(found) if len(found) > 1 else found[0], rows)
            if key in self.fourths:
                self.fourths[key].update(narrow() if rows is None else narrow()[rows])
        return nearest

    def open_wide(self) -> None:
        """Make the accumulators of wide layers."""
        # Features that wait are read on the CPU.
        device = torch.device("cpu") if self.request.plan.keeps_features else self.device
        for key in sorted(key for key in self.result.evidence if key[1] in self.spans):
            self._open(key, device)

    def compare(self, nearest: Judged, predictions: Mapping[str, Tensor]) -> None:
        """Count where the nearest class is not the one that the network predicts for the target."""
        for key, (classes, rows) in nearest.items():
            if key[0] in predictions and key[0] in self.result.errors:
                own = predictions[key[0]].to(classes.device)
                self.projections[key].compare(classes, own if rows is None else own[rows])

    def state(self) -> State:
        """What was accumulated so far."""
        return {
            "projections": {key: state_of(held) for key, held in self.projections.items()},
            "probes": {key: state_of(held) for key, held in self.probes.items()},
            "fourths": {key: state_of(held) for key, held in self.fourths.items()},
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        for key, held in state["projections"].items():
            self._open(key, self.device)
            restore(self.projections[key], held, self.device)
        for key, held in state["probes"].items():
            restore(self.probes[key], held, self.device)
        for key, held in state["fourths"].items():
            restore(self.fourths[key], held, self.device)

    def finish(self, reading: LayerReading, shared: bool) -> None:
        """Put what was accumulated of one layer into the evidence; with that of other processes, if they share it."""
        for key, evidence in self.result.evidence.items():
            if key[1] != reading.name or "moments" not in evidence or not self._open(key, self.device):
                continue
            own = self.projections.pop(key)
            seen = merge_across_processes(
                own, partial(CenterProjections, own.own, own.train, own.judge), own.scatter.device, shared
            )
            evidence["span"], evidence["nearest"] = seen.finish()
            if "noise" in self.request.needs:
                covariance = self.result.covariance(key)
                width = covariance.means.shape[1] if reading.name in self.spans else reading.features
                noise = noise_variance(covariance, width)
                evidence["span"] = replace(evidence["span"], noise=noise)
            if key in self.probes:
                probe, reference = self.probes.pop(key), self.train.references[key].probe
                assert reference is not None
                make = partial(ProbeErrors, reference, probe.errors.device)
                evidence["probe"] = merge_across_processes(probe, make, probe.errors.device, shared).finish()
            if key in self.fourths:
                own_fourth, covariance = self.fourths.pop(key), evidence["covariance"]
                whole = partial(FourthMoment, covariance, own_fourth.total.device)
                fourth = merge_across_processes(own_fourth, whole, own_fourth.total.device, shared).finish()
                evidence["covariance"] = replace(covariance, fourth=fourth)

    def _open(self, key: Key, device: torch.device) -> bool:
        """Make the accumulators of a layer, where they are not there yet; says whether there is anything to judge."""
        if key in self.projections:
            return True
        known = key in self.result.evidence and (self.train is self.result or key in self.train.references)
        if not known:
            return False
        target, _ = key
        classes = max(self.result.classes[target], self.train.classes[target])
        moments: Moments = self.result.evidence[key]["moments"]
        own = Centers.of(moments, classes, device)
        if self.train is self.result:
            probe = None
            if "probe" in self.request.needs:
                probe = fit_ridge(self.result.covariance(key), self.request.ridge)
                narrowing = self.spans.get(key[1], self.sketches[key[1]])
                if narrowing is not None:
                    weight = narrowing.lift(torch.from_numpy(probe.weight)).numpy()
                    probe = replace(probe, weight=weight, mean=moments.shares @ moments.means)
                # The weights lie below the basis, and only there.
                own = own.beside(torch.from_numpy(probe.weight))
                probe = replace(probe, weight=own.frame[len(own.basis) :].T.cpu().numpy())
            self.result.references[key] = Reference(own, probe)
        reference = self.train.references[key]
        judged = own if self.train is self.result else reference.centers.covering(classes)
        self.projections[key] = CenterProjections(own, judged, reference.probe)
        if reference.probe is not None:
            self.probes[key] = ProbeErrors(reference.probe, device)
        if "fourth" in self.request.needs:
            self.fourths[key] = FourthMoment(self.result.evidence[key]["covariance"], device)
        return True
