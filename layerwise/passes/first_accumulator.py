"""Pass 1 as one measurement sees it: moments of every target and layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from layerwise.features.reading import LayerReading
from layerwise.features.sketch import Sketch
from layerwise.passes.replicates import TargetView, all_of
from layerwise.passes.request import PassRequest
from layerwise.passes.result import Key, SplitResult
from layerwise.passes.spans import Span
from layerwise.runtime.distributed import union
from layerwise.statistics import ClassMoments, State, TargetAccumulator, fit_readout, restore, state_of
from layerwise.statistics.merging import merge_across_processes

__all__ = ["FirstAccumulator"]


class FirstAccumulator:
    """Accumulates the moments of every target and layer over the samples that one measurement sees.

    Parameters
    ----------
    request : Request
    sketches : mapping of str to Sketch or None
        The projection that each layer's covariance is taken of.
    device : device
        Where what has no sample yet is accumulated.
    scatter : bool
        Whether covariances are kept, where they are needed; if not, they come of another measurement's (see
        `SplitResult.totals`).
    """

    def __init__(
        self, request: PassRequest, sketches: Mapping[str, Sketch | None], device: torch.device, *, scatter: bool = True
    ) -> None:
        self.request = request
        self.scatter = scatter
        self.sketches = sketches
        self.device = device
        self.roundings = {reading.name: reading.rounding for reading in request.readings}
        self.moments: dict[Key, ClassMoments] = {}
        self.narrow: dict[Key, ClassMoments] = {}
        self.joint: dict[Key, TargetAccumulator] = {}
        self.spanned: dict[Key, tuple[float, int]] = {}
        self.wide = {reading.name for reading in request.wide}

    def update(
        self,
        reading: LayerReading,
        features: Tensor,
        narrow: Tensor | None,
        kept: Tensor | None,
        seen: Mapping[str, TargetView],
    ) -> None:
        """Take in the features of one layer.

        Parameters
        ----------
        reading : Reading
        features : Tensor
            Shape ``(n, d)``.
        narrow : Tensor or None
            Their projection, where the covariance is taken of one.
        kept : Tensor or None
            The samples whose features are finite.
        seen : mapping of str to Seen
            What is seen of every target.
        """
        for target, (values, counts) in seen.items():
            key = (target, reading.name)
            rows = all_of(kept, counts)
            own = values.to(features.device)
            own = own if rows is None else own[rows.to(own.device)]
            if target in self.request.dimensions:
                if "regression" in self.request.needs and reading.name not in self.wide:
                    whole = features if narrow is None else narrow
                    if key not in self.joint:
                        self.joint[key] = self._fresh_joint(key)
                    self.joint[key].update(_rows(whole, rows), own)
                continue
            if key not in self.moments:
                self.moments[key] = self._fresh(key)
            self.moments[key].update(_rows(features, rows), own)
            if narrow is not None:
                self._update_narrow(key, _rows(narrow, rows), own)

    def update_narrow(
        self,
        reading: LayerReading,
        coordinates: Tensor,
        kept: Tensor | None,
        seen: Mapping[str, TargetView],
        squares: float,
    ) -> None:
        """Take in all samples of a wide layer in coordinates of their own span; the rest is as for `update`.

        Parameters
        ----------
        coordinates : Tensor
            Shape ``(n, r)``.
        squares : float
            Mean square of a coordinate by which its rounding is judged (`layerwise.statistics.Isometry.squares`).
        """
        for target, (values, counts) in seen.items():
            key = (target, reading.name)
            rows = all_of(kept, counts)
            own = values.to(coordinates.device)
            own = own if rows is None else own[rows.to(own.device)]
            self.spanned[key] = (squares, reading.features)
            if target not in self.request.dimensions:
                self._update_narrow(key, _rows(coordinates, rows), own)
            elif "regression" in self.request.needs:
                if key not in self.joint:
                    self.joint[key] = self._fresh_joint(key)
                self.joint[key].update(_rows(coordinates, rows), own)

    def _update_narrow(self, key: Key, narrow: Tensor, labels: Tensor) -> None:
        if key not in self.narrow:
            self.narrow[key] = self._fresh_narrow(key)
        self.narrow[key].update(narrow, labels)

    @property
    def finite(self) -> bool:
        """Whether all features so far were finite."""
        norms = [moments.norm.cpu() for moments in self.moments.values() if len(moments.counts)]
        norms += [joint.norm.cpu() for joint in self.joint.values() if joint.count]
        return not norms or bool(torch.isfinite(torch.stack(norms)).all())

    def state(self) -> State:
        """What was accumulated so far."""
        return {
            "moments": {key: state_of(moments) for key, moments in self.moments.items()},
            "narrow": {key: state_of(moments) for key, moments in self.narrow.items()},
            "joint": {key: state_of(joint) for key, joint in self.joint.items()},
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.moments = {key: restore(self._fresh(key), held, self.device) for key, held in state["moments"].items()}
        self.narrow = {
            key: restore(self._fresh_narrow(key), held, self.device) for key, held in state["narrow"].items()
        }
        self.joint = {key: restore(self._fresh_joint(key), held, self.device) for key, held in state["joint"].items()}

    def move(self, rows: Mapping[str, Tensor]) -> None:
        """Give every class of a target the row that it has now."""
        for held in (self.moments, self.narrow):
            for key, moments in held.items():
                if key[0] in rows:
                    moments.move(rows[key[0]], len(self.request.vocabularies[key[0]]))

    def merge(self, shared: bool) -> None:
        """Take in what the other processes accumulated, if the samples are shared."""
        for held, make in ((self.moments, self._fresh), (self.narrow, self._fresh_narrow)):
            for key in union(held, shared):
                held[key] = merge_across_processes(held.get(key), partial(make, key), self.device, shared)
        for key in union(self.joint, shared):
            self.joint[key] = merge_across_processes(
                self.joint.get(key), partial(self._fresh_joint, key), self.device, shared
            )

    def finish(self, result: SplitResult, train: SplitResult, spans: Mapping[str, Span]) -> SplitResult:
        """Put the finished statistics into the evidence; what was accumulated is let go.

        Parameters
        ----------
        result : SplitResult
            Of the same samples.
        train : SplitResult
            The split whose readout and units judge the regression targets; `result` itself for the training split.
        spans : mapping of str to Span
            Isometries of wide layers of few samples.
        """
        for key in list(self.moments):
            moments = self.moments.pop(key)
            narrow_moments = self.narrow.pop(key, None)
            if not len(moments.counts):
                # Not one sample of the layer was finite.
                continue
            finished = moments.finish()
            result.present[key[0]] = len(finished.classes)
            ids = np.delete(result.ids[key[0]], finished.classes)
            result.absent[key[0]] = sorted(ids.tolist())
            narrow = narrow_moments.finish() if narrow_moments is not None else finished
            if key in self.spanned:
                squares, width = self.spanned[key]
                narrow = replace(narrow, squares=np.full_like(narrow.squares, squares), width=width)
            result.evidence[key] = {"moments": finished}
            if narrow.within is not None or key in result.totals:
                result.evidence[key]["covariance"] = narrow
        for key in [key for key, joint in self.joint.items() if joint.count]:
            self._finish_target(key, result, train, spans.get(key[1]))
        return result

    def _finish_target(self, key: Key, result: SplitResult, train: SplitResult, span: Span | None) -> None:
        """Put the moments of a regression target into the evidence, in the units of the training split."""
        moments = self.joint.pop(key).finish(None if self.scatter else result.totals[key])
        if key in self.spanned:
            square, width = self.spanned[key]
            moments = replace(moments, square=square, width=width)
        readout = None
        if train is result:
            spread = np.sqrt(np.diag(moments.target_covariance))
            standard = np.where(spread > 0, spread, 1.0) if self.request.standardize else np.ones(len(spread))
            result.units.setdefault(key[0], standard)
            moments = moments.in_units(result.units[key[0]])
            readout = fit_readout(moments)
            result.readouts[key] = readout if span is None else span.lifted(readout)
        elif key in train.readouts:
            moments, readout = moments.in_units(train.units[key[0]]), train.readouts[key]
            readout = readout if span is None else span.lowered(readout, moments)
        result.evidence[key] = {"regression": moments, "readout": readout}

    def _fresh(self, key: Key) -> ClassMoments:
        needed = bool({"covariance", "probe"} & self.request.needs) and bool(self.request.plan.covariance_width)
        scatter = self.scatter and needed and self.sketches[key[1]] is None and key[1] not in self.wide
        return ClassMoments(self.request.rows(key[0]), scatter=scatter, rounding=self.roundings[key[1]])

    def _fresh_narrow(self, key: Key) -> ClassMoments:
        count, rounding = self.request.rows(key[0]), self.roundings[key[1]]
        return ClassMoments(count, scatter=self.scatter, rounding=rounding)

    def _fresh_joint(self, key: Key) -> TargetAccumulator:
        return TargetAccumulator(features=self.scatter, rounding=self.roundings[key[1]])


def _rows(features: Tensor, rows: Tensor | None) -> Tensor:
    return features if rows is None else features[rows.to(features.device)]
