"""Runs the passes of one split and hands on finished statistics, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.bank import Bank
from layerwise.errors import EmptyData, InvalidLabels, NonFiniteFeatures, NotRepeatable
from layerwise.network import Network, Reading
from layerwise.plan import Plan
from layerwise.progress import bar
from layerwise.provenance import DataFingerprint
from layerwise.sketch import Sketch
from layerwise.statistics import CenterProjections, Centers, ClassMoments, Moments, ProbeErrors, RidgeProbe, fit_ridge

__all__ = ["Request", "SplitResult", "run_split"]

#: A target's name and a layer's name.
Key = tuple[str, str]


@dataclass(frozen=True)
class Request:
    """What is to be measured.

    Attributes
    ----------
    readings : sequence of Reading
        The layers.
    needs : frozenset of str
        Statistics that the metrics ask for.
    classes : mapping of str to int
        Declared number of classes of a target; targets that are missing here take it from their labels.
    plan : Plan
    ridge : float
        Regularisation of the ridge classifier.
    nonfinite : {"raise", "drop"}
        What to do with samples that have NaN or infinity in a layer.
    seed : int
        Of random projections.
    """

    readings: Sequence[Reading]
    needs: frozenset[str]
    classes: Mapping[str, int]
    plan: Plan
    ridge: float = 1e-3
    nonfinite: Literal["raise", "drop"] = "raise"
    seed: int = 0

    def narrowing(self, reading: Reading) -> Sketch | None:
        """The projection that a layer's covariance is taken of; None where the layer is narrow enough."""
        if not 0 < self.plan.covariance_width < reading.features:
            return None
        return Sketch(reading.features, self.plan.projected_width, self.seed)


@dataclass
class SplitResult:
    """What one split gave.

    Attributes
    ----------
    evidence : dict
        Finished statistics by target and layer, under the names of `layerwise.metrics.EVIDENCE`.
    samples : int
    classes, present : dict of str to int
        Number of classes of every target, and of those with a sample.
    absent : dict of str to list of int
        Labels without a sample.
    errors : dict of str to float
        Share of samples that the network itself gets wrong; absent where it has no classifier for the target.
    left_out : dict of str to int
        Samples left out of a layer because they were not finite.
    fingerprint : str
        Of the data.
    references : dict
        The centres and the probe of each target and layer, for other splits to be judged against.
    """

    evidence: dict[Key, dict[str, Any]] = field(default_factory=dict)
    samples: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    absent: dict[str, list[int]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""
    references: dict[Key, Reference] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """What other splits are judged against."""

    centers: Centers
    probe: RidgeProbe | None


def run_split(
    network: Network,
    loader: Iterable[Any],
    request: Request,
    split: str = "",
    train: SplitResult | None = None,
) -> SplitResult:
    """Sweep a split once or twice and finish its statistics.

    Parameters
    ----------
    network : Network
    loader : iterable of batches
    request : Request
    split : str
        Its name, for the progress bar.
    train : SplitResult, optional
        The training split, whose class means and probe judge the samples; the split itself by default.

    Raises
    ------
    EmptyData, InvalidLabels, NonFiniteFeatures
        As the data goes by.
    """
    with ExitStack() as stack:
        bank = stack.enter_context(Bank(request.plan.second)) if request.plan.second in ("memory", "disk") else None
        first = _FirstPass(request, bank)
        with network.reading(request.readings, first.receive) as run:
            for number, batch in enumerate(network.batches(bar(loader, f"{split} pass 1"))):
                first.begin(batch)
                first.end(run(batch))
                _check_finite(first, network, batch, number)
        if not first.samples:
            raise EmptyData(f"split {split!r} is empty: its loader gave no batch")
        result = first.finish()
        if request.plan.passes == 2:
            second = _SecondPass(request, result, train or result)
            if bank is not None:
                second.read(bank, bar(request.readings, f"{split} pass 2"))
            else:
                second.run(network, bar(loader, f"{split} pass 2"))
        return result


class _FirstPass:
    """Class moments of every target and layer, and the features into the bank."""

    def __init__(self, request: Request, bank: Bank | None) -> None:
        self.request = request
        self.bank = bank
        self.moments: dict[Key, ClassMoments] = {}
        self.narrow: dict[Key, ClassMoments] = {}
        self.sketches = {item.name: request.narrowing(item) for item in request.readings}
        self.labels: dict[str, Tensor] = {}
        self.classes: dict[str, int] = dict(request.classes)
        self.wrong: dict[str, Tensor] = {}
        self.scores = 0
        self.samples = 0
        self.left_out: dict[str, int] = {}
        self.fingerprint = DataFingerprint()

    def begin(self, batch: Batch) -> None:
        self.labels = {name: _checked(labels, name, self.request.classes) for name, labels in batch.labels.items()}
        for name, labels in self.labels.items():
            self.classes[name] = max(self.classes.get(name, 0), int(labels.max()) + 1)
        self.samples += batch.size
        self.fingerprint.update(batch.inputs, batch.labels)

    def receive(self, reading: Reading, features: Tensor) -> None:
        if self.bank is not None:
            self.bank.put(reading.name, features)
        kept = _finite_rows(features, self.request.nonfinite)
        if kept is not None:
            self.left_out[reading.name] = self.left_out.get(reading.name, 0) + int((~kept).sum())
            features = features[kept]
        sketch = self.sketches[reading.name]
        wanted = bool(self.request.plan.covariance_width)
        narrow = sketch(features) if sketch is not None and wanted else None
        for target, all_labels in self.labels.items():
            labels = all_labels.to(features.device)
            labels = labels if kept is None else labels[kept]
            key = (target, reading.name)
            if key not in self.moments:
                expected = self.classes[target]
                self.moments[key] = ClassMoments(expected, scatter=wanted and sketch is None)
                if narrow is not None:
                    self.narrow[key] = ClassMoments(expected, scatter=True)
            self.moments[key].update(features, labels)
            if narrow is not None:
                self.narrow[key].update(narrow, labels)

    def end(self, logits: Tensor | None) -> None:
        predictions = None if logits is None else logits.argmax(1)
        self.scores = 0 if logits is None else logits.shape[1]
        for target, labels in self.labels.items():
            if predictions is not None:
                wrong = (predictions != labels.to(predictions.device)).sum()
                self.wrong[target] = self.wrong.get(target, 0) + wrong
            if self.bank is not None:
                self.bank.put(f"labels of {target}", labels)
        if self.bank is not None and predictions is not None:
            self.bank.put("predictions", predictions)

    def finish(self) -> SplitResult:
        result = SplitResult(samples=self.samples, classes=self.classes, left_out=self.left_out)
        result.fingerprint = str(self.fingerprint)
        for target, wrong in self.wrong.items():
            if self.scores == self.classes[target]:
                result.errors[target] = float(wrong) / self.samples
        for key, moments in self.moments.items():
            finished = moments.finish()
            present = set(finished.classes.tolist())
            result.present[key[0]] = len(present)
            result.absent[key[0]] = sorted(set(range(self.classes[key[0]])) - present)
            narrow = self.narrow[key].finish() if key in self.narrow else finished
            result.evidence[key] = {"moments": finished}
            if narrow.within is not None:
                result.evidence[key]["covariance"] = narrow
        self.moments.clear()
        self.narrow.clear()
        return result


class _SecondPass:
    """Every sample seen from the class means, and judged by the probe."""

    def __init__(self, request: Request, result: SplitResult, train: SplitResult) -> None:
        self.request = request
        self.result = result
        self.train = train
        self.sketches = {item.name: request.narrowing(item) for item in request.readings}
        self.projections: dict[Key, CenterProjections] = {}
        self.probes: dict[Key, ProbeErrors] = {}

    def read(self, bank: Bank, readings: Iterable[Reading]) -> None:
        """Take the features from the bank, one layer after the other."""
        labels = {target: list(bank.get(f"labels of {target}")) for target in self.result.classes}
        predictions = list(bank.get("predictions"))
        for reading in readings:
            for number, features in enumerate(bank.get(reading.name)):
                nearest = self._update(reading, features, {name: values[number] for name, values in labels.items()})
                self._compare(nearest, predictions[number] if predictions else None)
            self._finish(reading)

    def run(self, network: Network, loader: Iterable[Any]) -> None:
        """Run the data through the network again."""
        nearest: dict[Key, tuple[Tensor, Tensor | None]] = {}
        labels: dict[str, Tensor] = {}

        def receive(reading: Reading, features: Tensor) -> None:
            nearest.update(self._update(reading, features, labels))

        samples = 0
        with network.reading(self.request.readings, receive) as run:
            for batch in network.batches(loader):
                samples += batch.size
                labels.update(batch.labels)
                logits = run(batch)
                self._compare(nearest, None if logits is None else logits.argmax(1))
        for reading in self.request.readings:
            self._finish(reading)
        if samples != self.result.samples:
            raise NotRepeatable(
                f"the loader gave {self.result.samples} samples in the first run and {samples} in the second; "
                "give a loader that repeats itself"
            )

    def _open(self, key: Key, device: torch.device) -> None:
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

    def _update(
        self, reading: Reading, features: Tensor, labels: Mapping[str, Tensor]
    ) -> dict[Key, tuple[Tensor, Tensor | None]]:
        kept = _finite_rows(features, self.request.nonfinite)
        features = features if kept is None else features[kept]
        sketch = self.sketches[reading.name]
        nearest: dict[Key, tuple[Tensor, Tensor | None]] = {}
        narrow: Tensor | None = None
        for target, all_labels in labels.items():
            own = all_labels.to(features.device)
            own = own if kept is None else own[kept]
            key = (target, reading.name)
            if key not in self.projections:
                self._open(key, features.device)
            nearest[key] = (self.projections[key].update(features, own), kept)
            if key in self.probes:
                if narrow is None:
                    narrow = features if sketch is None else sketch(features)
                self.probes[key].update(narrow, own)
        return nearest

    def _compare(self, nearest: Mapping[Key, tuple[Tensor, Tensor | None]], predictions: Tensor | None) -> None:
        for key, (classes, kept) in nearest.items():
            if predictions is not None and key[0] in self.result.errors:
                own = predictions.to(classes.device)
                self.projections[key].compare(classes, own if kept is None else own[kept.to(own.device)])

    def _finish(self, reading: Reading) -> None:
        for key in [key for key in self.projections if key[1] == reading.name]:
            evidence = self.result.evidence[key]
            evidence["span"], evidence["nearest"] = self.projections.pop(key).finish()
            if key in self.probes:
                evidence["probe"] = self.probes.pop(key).finish()


def _checked(labels: Tensor, target: str, classes: Mapping[str, int]) -> Tensor:
    """Labels as integers that lie within the classes.

    Raises
    ------
    InvalidLabels
        Naming the target and the first label that is none.
    """
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise InvalidLabels(
            f"labels of {target!r} must be integers of shape (n,); "
            f"they are {labels.dtype} of shape {tuple(labels.shape)}"
        )
    labels = labels.long()
    low, high = int(labels.min()), int(labels.max())
    known = classes.get(target)
    if low < 0 or (known is not None and high >= known):
        wrong = low if low < 0 else high
        within = f"0 .. {known - 1}" if known is not None else "0 and above"
        raise InvalidLabels(f"label {wrong} of {target!r} is outside the classes, {within}")
    return labels


def _finite_rows(features: Tensor, nonfinite: str) -> Tensor | None:
    """The samples to keep, shape ``(n,)``; None to keep all."""
    if nonfinite == "raise":
        return None
    kept = torch.isfinite(features).all(1)
    return None if bool(kept.all()) else kept


def _check_finite(first: _FirstPass, network: Network, batch: Batch, number: int) -> None:
    """Look for NaN in what was accumulated, and only on finding some run the batch again to say where.

    Raises
    ------
    NonFiniteFeatures
        Naming layer, batch and share.
    """
    norms = torch.stack([moments.norm.cpu() for moments in first.moments.values()])
    if bool(torch.isfinite(norms).all()):
        return
    shares: dict[str, float] = {}

    def receive(reading: Reading, features: Tensor) -> None:
        shares[reading.name] = 1 - float(torch.isfinite(features).all(1).double().mean())

    with network.reading(first.request.readings, receive) as run:
        run(batch)
    for layer, share in shares.items():
        if share > 0:
            raise NonFiniteFeatures(
                f"layer {layer!r} has NaN or infinity in {share:.1%} of the samples of batch {number}; "
                "nonfinite='drop' leaves such samples out and counts them"
            )
    raise NonFiniteFeatures(f"the features of batch {number} are finite but too large to be summed")
