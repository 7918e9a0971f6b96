"""The sums of pass 2 for one target and layer, as one measurement sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from layerwise.statistics import (
    CenterProjections,
    FourthMoment,
    Moments,
    ProbeErrors,
    RidgeProbe,
    State,
    restore,
    state_of,
)
from layerwise.statistics.merging import merge_across_processes

__all__ = ["JudgedSums"]


@dataclass(frozen=True)
class JudgedSums:
    """Accumulators of samples that are judged by class means and perhaps a probe.

    Attributes
    ----------
    projections : CenterProjections
    probe : ProbeErrors or None
    fourth : FourthMoment or None
        The fourth moment of what the covariance is taken of, where a convention needs it.
    """

    projections: CenterProjections
    probe: ProbeErrors | None
    fourth: FourthMoment | None

    def update(self, features: Tensor, labels: Tensor) -> Tensor:
        """Take in samples, a few at a time; return their nearest classes."""
        step = self.projections.at_a_time
        parts = []
        for some, some_labels in zip(features.split(step), labels.split(step), strict=True):
            classes, scores = self.projections.update(some, some_labels)
            parts.append(classes)
            if scores is not None and self.probe is not None:
                self.probe.update(scores, some_labels)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def merged_projections(self, shared: bool) -> CenterProjections:
        """Return the projections of all processes."""
        own = self.projections
        make = partial(CenterProjections, own.own, own.train, own.judge)
        return merge_across_processes(own, make, own.scatter.device, shared)

    def merged_probe(self, reference: RidgeProbe | None, shared: bool) -> ProbeErrors | None:
        """Return the probe's errors in all processes."""
        if self.probe is None or reference is None:
            return None
        device = self.probe.errors.device
        return merge_across_processes(self.probe, partial(ProbeErrors, reference, device), device, shared)

    def merged_fourth(self, covariance: Moments, shared: bool) -> FourthMoment:
        """Return the fourth moment of all processes' samples."""
        assert self.fourth is not None
        device = self.fourth.total.device
        return merge_across_processes(self.fourth, partial(FourthMoment, covariance, device), device, shared)

    def state(self) -> State:
        """Return what was accumulated so far."""
        own = {"projections": self.projections, "probe": self.probe, "fourth": self.fourth}
        return {name: state_of(accumulator) for name, accumulator in own.items() if accumulator is not None}

    def restore(self, state: State, device: torch.device) -> None:
        """Go on from a state."""
        restore(self.projections, state["projections"], device)
        if self.probe is not None:
            restore(self.probe, state["probe"], device)
        if self.fourth is not None:
            restore(self.fourth, state["fourth"], device)
