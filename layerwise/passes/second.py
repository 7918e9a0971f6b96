"""Pass 2: every sample seen from the class means, and judged by the probe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.bank import Bank
from layerwise.network import Answer, Reading
from layerwise.passes.checks import finite_rows
from layerwise.passes.request import Request
from layerwise.passes.result import Key, Reference, SplitResult
from layerwise.shares import pooled
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

__all__ = ["SecondPass"]


class SecondPass:
    """Accumulates pass 2 of one split into its evidence: `read` from a bank, or `begin`, `receive`, `end` and `finish`.

    Parameters
    ----------
    request : Request
    result : SplitResult
        Of pass 1 over the same split.
    train : SplitResult
        The split that judges; the same object for the training split.
    device : device
        Where what has no sample yet is accumulated.
    shared : bool
        Whether other processes have the other samples.
    """

    def __init__(
        self,
        request: Request,
        result: SplitResult,
        train: SplitResult,
        device: torch.device,
        *,
        shared: bool = False,
    ) -> None:
        self.request = request
        self.device = device
        self.result = result
        self.train = train
        self.shared = shared
        self.sketches = {item.name: request.narrowing(item) for item in request.readings}
        self.projections: dict[Key, CenterProjections] = {}
        self.probes: dict[Key, ProbeErrors] = {}
        self.fourths: dict[Key, FourthMoment] = {}
        self.samples = 0
        self._labels: dict[str, Tensor] = {}
        self._nearest: dict[Key, tuple[Tensor, Tensor | None]] = {}

    def begin(self, batch: Batch) -> None:
        """Look at what comes with the features of a second run."""
        self.samples += batch.size
        self._labels = {
            target: labels.long() for target, labels in batch.labels.items() if target not in self.request.dimensions
        }

    def receive(self, reading: Reading, features: Tensor) -> None:
        """Take in the features of one layer, shape ``(n, d)``."""
        self._nearest.update(self._update(reading, features, self._labels))

    def end(self, answer: Answer) -> None:
        """Compare with what the network itself makes of the batch."""
        self._compare(self._nearest, None if answer.logits is None else answer.logits.argmax(1))

    def read(self, bank: Bank, readings: Iterable[Reading]) -> None:
        """Take the features from the bank, one layer after the other."""
        labels = {target: list(bank.get(f"labels of {target}")) for target in self.result.classes}
        predictions = list(bank.get("predictions"))
        for reading in readings:
            for number, features in enumerate(bank.get(reading.name)):
                of_batch = {name: values[number] for name, values in labels.items()}
                nearest = self._update(reading, features, of_batch)
                self._compare(nearest, predictions[number] if predictions else None)
            self.finish(reading)

    def _update(
        self, reading: Reading, features: Tensor, labels: Mapping[str, Tensor]
    ) -> dict[Key, tuple[Tensor, Tensor | None]]:
        """Take in the features of one layer; gives the nearest classes, and the samples that they are of."""
        kept = finite_rows(features, self.request.nonfinite)
        features = features if kept is None else features[kept]
        sketch = self.sketches[reading.name]
        nearest: dict[Key, tuple[Tensor, Tensor | None]] = {}
        narrow: Tensor | None = None
        for target, all_labels in labels.items():
            own = all_labels.to(features.device)
            own = own if kept is None else own[kept]
            key = (target, reading.name)
            if not self._open(key, features.device):
                continue
            nearest[key] = (self.projections[key].update(features, own), kept)
            if narrow is None and (key in self.probes or key in self.fourths):
                narrow = features if sketch is None else sketch(features)
            if narrow is not None and key in self.probes:
                self.probes[key].update(narrow, own)
            if narrow is not None and key in self.fourths:
                self.fourths[key].update(narrow)
        return nearest

    def _compare(self, nearest: Mapping[Key, tuple[Tensor, Tensor | None]], predictions: Tensor | None) -> None:
        """Count where the nearest class is not the one that the network predicts."""
        for key, (classes, kept) in nearest.items():
            if predictions is not None and key[0] in self.result.errors:
                own = predictions.to(classes.device)
                self.projections[key].compare(classes, own if kept is None else own[kept.to(own.device)])

    def state(self) -> State:
        """What was accumulated so far."""
        return {
            "samples": self.samples,
            "projections": {key: state_of(held) for key, held in self.projections.items()},
            "probes": {key: state_of(held) for key, held in self.probes.items()},
            "fourths": {key: state_of(held) for key, held in self.fourths.items()},
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.samples = state["samples"]
        for key, held in state["projections"].items():
            self._open(key, self.device)
            restore(self.projections[key], held, self.device)
        for key, held in state["probes"].items():
            restore(self.probes[key], held, self.device)
        for key, held in state["fourths"].items():
            restore(self.fourths[key], held, self.device)

    def finish(self, reading: Reading) -> None:
        """Put what was accumulated of one layer into the evidence."""
        for key, evidence in self.result.evidence.items():
            if key[1] != reading.name or "moments" not in evidence or not self._open(key, self.device):
                continue
            own = self.projections.pop(key)
            seen = pooled(own, partial(CenterProjections, own.own, own.train), own.scatter.device, self.shared)
            evidence["span"], evidence["nearest"] = seen.finish()
            if "noise" in self.request.needs:
                noise = noise_variance(evidence["covariance"], reading.features)
                evidence["span"] = replace(evidence["span"], noise=noise)
            if key in self.probes:
                probe, reference = self.probes.pop(key), self.train.references[key].probe
                assert reference is not None
                make = partial(ProbeErrors, reference, probe.errors.device)
                evidence["probe"] = pooled(probe, make, probe.errors.device, self.shared).finish()
            if key in self.fourths:
                own_fourth, covariance = self.fourths.pop(key), evidence["covariance"]
                whole = partial(FourthMoment, covariance, own_fourth.total.device)
                fourth = pooled(own_fourth, whole, own_fourth.total.device, self.shared).finish()
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
                probe = fit_ridge(self.result.evidence[key]["covariance"], self.request.ridge)
            self.result.references[key] = Reference(own, probe)
        reference = self.train.references[key]
        judged = own if self.train is self.result else reference.centers.covering(classes)
        self.projections[key] = CenterProjections(own, judged)
        if reference.probe is not None:
            self.probes[key] = ProbeErrors(reference.probe, device)
        if "fourth" in self.request.needs:
            self.fourths[key] = FourthMoment(self.result.evidence[key]["covariance"], device)
        return True
