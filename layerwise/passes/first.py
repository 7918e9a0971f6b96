"""Pass 1: moments of every target and layer, and the features into the bank."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.bank import Bank
from layerwise.errors import InvalidData
from layerwise.network import Answer, Reading
from layerwise.passes.checks import checked_labels, checked_targets, finite_rows
from layerwise.passes.request import Request
from layerwise.passes.result import Key, SplitResult
from layerwise.passes.tally import Tally
from layerwise.provenance import DataFingerprint
from layerwise.shares import pooled, union
from layerwise.statistics import ClassMoments, State, TargetAccumulator, fit_readout, restore, state_of

__all__ = ["FirstPass"]


class FirstPass:
    """Accumulates pass 1 of one split, batch by batch: `begin`, `receive` for every layer, `end`; then `finish`."""

    def __init__(self, request: Request, bank: Bank | None, device: torch.device) -> None:
        self.request = request
        self.bank = bank
        self.device = device
        self.tally = Tally(request.classes)
        self.fingerprint = DataFingerprint()
        self.moments: dict[Key, ClassMoments] = {}
        self.narrow: dict[Key, ClassMoments] = {}
        self.joint: dict[Key, TargetAccumulator] = {}
        self.sketches = {item.name: request.narrowing(item) for item in request.readings}
        self.labels: dict[str, Tensor] = {}
        self.targets: dict[str, tuple[Tensor, Tensor | None]] = {}

    def begin(self, batch: Batch, number: int) -> None:
        """Look at what comes with the features of a batch.

        Raises
        ------
        InvalidData, InvalidLabels
            If the labels are of other targets, or no classes.
        BudgetExceeded
            If there are more classes than there is memory for.
        """
        if set(batch.labels) != set(self.request.targets):
            raise InvalidData(
                f"a batch has labels of {', '.join(batch.labels)}, the first had labels of "
                f"{', '.join(self.request.targets)}"
            )
        regression = self.request.dimensions
        self.labels = {
            name: checked_labels(labels, name, self.request.classes)
            for name, labels in batch.labels.items()
            if name not in regression
        }
        self.targets = {
            name: checked_targets(values, name, self.request, number)
            for name, values in batch.labels.items()
            if name in regression
        }
        for name, (_, present) in self.targets.items():
            if present is not None:
                self.tally.leave_out_of_target(name, int((~present).sum()))
        self.tally.see(self.labels, batch.size)
        self.request.plan.make_room(max(self.tally.classes.values(), default=0))
        self.fingerprint.update(batch.inputs, batch.labels)

    def receive(self, reading: Reading, features: Tensor) -> None:
        """Take in the features of one layer, shape ``(n, d)``."""
        if self.bank is not None:
            self.bank.put(reading.name, features)
        kept = finite_rows(features, self.request.nonfinite)
        if kept is not None:
            self.tally.leave_out(reading.name, int((~kept).sum()))
            features = features[kept]
        sketch = self.sketches[reading.name]
        narrow = sketch(features) if sketch is not None else None
        for target, all_labels in self.labels.items():
            labels = all_labels.to(features.device)
            labels = labels if kept is None else labels[kept]
            key = (target, reading.name)
            if key not in self.moments:
                self.moments[key] = self._fresh(key)
            self.moments[key].update(features, labels)
            if narrow is not None:
                if key not in self.narrow:
                    self.narrow[key] = self._fresh_narrow(key)
                self.narrow[key].update(narrow, labels)
        if "regression" in self.request.needs:
            self._receive_targets(reading, features if narrow is None else narrow, kept)

    def _receive_targets(self, reading: Reading, features: Tensor, kept: Tensor | None) -> None:
        """Take in the features of one layer with every regression target, of the samples that have both."""
        for target, (all_values, all_present) in self.targets.items():
            values = all_values.to(features.device)
            values = values if kept is None else values[kept]
            own = features
            if all_present is not None:
                present = all_present.to(features.device)
                present = present if kept is None else present[kept]
                own, values = own[present], values[present]
            self.joint.setdefault((target, reading.name), TargetAccumulator()).update(own, values)

    def end(self, answer: Answer) -> None:
        """Take in what the network itself makes of the batch."""
        predictions = self.tally.judge(self.labels, answer.logits)
        self.tally.compare(self.targets, answer, self.request.nonfinite)
        if self.bank is not None:
            for target, labels in self.labels.items():
                self.bank.put(f"labels of {target}", labels)
            if predictions is not None:
                self.bank.put("predictions", predictions)

    @property
    def finite(self) -> bool:
        """Whether all features so far were finite."""
        norms = [moments.norm.cpu() for moments in self.moments.values() if len(moments.counts)]
        norms += [joint.norm.cpu() for joint in self.joint.values() if joint.count]
        return not norms or bool(torch.isfinite(torch.stack(norms)).all())

    def state(self) -> State:
        """What was accumulated so far, and what the bank holds."""
        return {
            "tally": state_of(self.tally),
            "fingerprint": state_of(self.fingerprint),
            "moments": {key: state_of(moments) for key, moments in self.moments.items()},
            "narrow": {key: state_of(moments) for key, moments in self.narrow.items()},
            "joint": {key: state_of(joint) for key, joint in self.joint.items()},
            "bank": None if self.bank is None else self.bank.save(),
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        restore(self.tally, state["tally"])
        restore(self.fingerprint, state["fingerprint"])
        self.moments = {key: restore(self._fresh(key), held, self.device) for key, held in state["moments"].items()}
        self.narrow = {
            key: restore(self._fresh_narrow(key), held, self.device) for key, held in state["narrow"].items()
        }
        self.joint = {key: restore(TargetAccumulator(), held, self.device) for key, held in state["joint"].items()}
        if self.bank is not None:
            self.bank.restore(state["bank"])

    def merge(self, shared: bool) -> None:
        """Take in what the other processes accumulated, if the samples are shared."""
        self.tally = pooled(self.tally, lambda: Tally({}), self.device, shared)
        self.fingerprint = pooled(self.fingerprint, DataFingerprint, self.device, shared)
        for held, make in ((self.moments, self._fresh), (self.narrow, self._fresh_narrow)):
            for key in union(held, shared):
                held[key] = pooled(held.get(key), partial(make, key), self.device, shared)
        for key in union(self.joint, shared):
            self.joint[key] = pooled(self.joint.get(key), TargetAccumulator, self.device, shared)

    def finish(self, train: SplitResult | None = None) -> SplitResult:
        """The finished statistics; what was accumulated is let go.

        Parameters
        ----------
        train : SplitResult, optional
            The split whose readout and units judge the regression targets; this one by default.
        """
        tally = self.tally
        result = SplitResult(
            samples=tally.samples,
            classes=tally.classes,
            errors=tally.errors,
            scores=tally.scores,
            squares=tally.squares,
            left_out=tally.left_out,
            without_target=tally.without_target,
            fingerprint=str(self.fingerprint),
        )
        for key, moments in self.moments.items():
            if not len(moments.counts):
                # Not one sample of the layer was finite.
                continue
            finished = moments.finish()
            present = set(finished.classes.tolist())
            result.present[key[0]] = len(present)
            result.absent[key[0]] = sorted(set(range(tally.classes[key[0]])) - present)
            narrow = self.narrow[key].finish() if key in self.narrow else finished
            result.evidence[key] = {"moments": finished}
            if narrow.within is not None:
                result.evidence[key]["covariance"] = narrow
        self.moments.clear()
        self.narrow.clear()
        self._finish_targets(result, train or result)
        return result

    def _finish_targets(self, result: SplitResult, train: SplitResult) -> None:
        """Put the moments of the regression targets into the evidence, in the units of the training split."""
        for key in [key for key, joint in self.joint.items() if joint.count]:
            moments = self.joint.pop(key).finish()
            if train is result:
                spread = np.sqrt(np.diag(moments.target_covariance))
                standard = np.where(spread > 0, spread, 1.0) if self.request.standardize else np.ones(len(spread))
                result.units.setdefault(key[0], standard)
                moments = moments.in_units(result.units[key[0]])
                result.readouts[key] = fit_readout(moments)
            elif key in train.readouts:
                moments = moments.in_units(train.units[key[0]])
            result.evidence[key] = {"regression": moments, "readout": train.readouts.get(key)}
        for target, squares in result.squares.items():
            result.squares[target] = squares / train.units[target] ** 2 if target in train.units else squares

    def _fresh(self, key: Key) -> ClassMoments:
        needed = bool({"covariance", "probe"} & self.request.needs)
        scatter = needed and bool(self.request.plan.covariance_width) and self.sketches[key[1]] is None
        return ClassMoments(self.tally.classes[key[0]], scatter=scatter)

    def _fresh_narrow(self, key: Key) -> ClassMoments:
        return ClassMoments(self.tally.classes[key[0]], scatter=True)
