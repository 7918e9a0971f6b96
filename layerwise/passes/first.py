"""Pass 1: class moments of every target and layer, and the features into the bank."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.bank import Bank
from layerwise.errors import InvalidData
from layerwise.network import Reading
from layerwise.passes.checks import checked_labels, finite_rows
from layerwise.passes.request import Request
from layerwise.passes.result import Key, SplitResult
from layerwise.passes.tally import Tally
from layerwise.provenance import DataFingerprint
from layerwise.shares import pooled, union
from layerwise.statistics import ClassMoments, State, restore, state_of

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
        self.sketches = {item.name: request.narrowing(item) for item in request.readings}
        self.labels: dict[str, Tensor] = {}

    def begin(self, batch: Batch) -> None:
        """Look at what comes with the features.

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
        self.labels = {
            name: checked_labels(labels, name, self.request.classes) for name, labels in batch.labels.items()
        }
        self.tally.see(self.labels, batch.size)
        self.request.plan.make_room(max(self.tally.classes.values()))
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

    def end(self, logits: Tensor | None) -> None:
        """Take in what the network itself makes of the batch."""
        predictions = self.tally.judge(self.labels, logits)
        if self.bank is not None:
            for target, labels in self.labels.items():
                self.bank.put(f"labels of {target}", labels)
            if predictions is not None:
                self.bank.put("predictions", predictions)

    @property
    def finite(self) -> bool:
        """Whether all features so far were finite."""
        norms = [moments.norm.cpu() for moments in self.moments.values() if len(moments.counts)]
        return not norms or bool(torch.isfinite(torch.stack(norms)).all())

    def state(self) -> State:
        """What was accumulated so far, and what the bank holds."""
        return {
            "tally": state_of(self.tally),
            "fingerprint": state_of(self.fingerprint),
            "moments": {key: state_of(moments) for key, moments in self.moments.items()},
            "narrow": {key: state_of(moments) for key, moments in self.narrow.items()},
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
        if self.bank is not None:
            self.bank.restore(state["bank"])

    def merge(self, shared: bool) -> None:
        """Take in what the other processes accumulated, if the samples are shared."""
        self.tally = pooled(self.tally, lambda: Tally({}), self.device, shared)
        self.fingerprint = pooled(self.fingerprint, DataFingerprint, self.device, shared)
        for held, make in ((self.moments, self._fresh), (self.narrow, self._fresh_narrow)):
            for key in union(held, shared):
                held[key] = pooled(held.get(key), partial(make, key), self.device, shared)

    def finish(self) -> SplitResult:
        """The finished statistics; what was accumulated is let go."""
        tally = self.tally
        result = SplitResult(
            samples=tally.samples,
            classes=tally.classes,
            errors=tally.errors,
            scores=tally.scores,
            left_out=tally.left_out,
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
        return result

    def _fresh(self, key: Key) -> ClassMoments:
        scatter = bool(self.request.plan.covariance_width) and self.sketches[key[1]] is None
        return ClassMoments(self.tally.classes[key[0]], scatter=scatter)

    def _fresh_narrow(self, key: Key) -> ClassMoments:
        return ClassMoments(self.tally.classes[key[0]], scatter=True)
