"""Pass 1 as one measurement sees it: moments of every target and layer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from layerwise.features.reading import LayerReading
from layerwise.features.sketch import Sketch
from layerwise.passes.first_evidence import finish_classes, finish_regression
from layerwise.passes.request import PassRequest
from layerwise.passes.result import Key, SplitResult
from layerwise.passes.spans import Span
from layerwise.passes.target_views import TargetView, TargetViews, count_in_both
from layerwise.runtime.distributed import union
from layerwise.statistics import ClassMoments, State, TargetAccumulator, restore, state_of
from layerwise.statistics.merging import merge_across_processes

__all__ = ["FirstAccumulator"]


class FirstAccumulator:
    """Accumulates the moments of every target and layer over the samples that one measurement sees.

    Parameters
    ----------
    request : PassRequest
    sketches : mapping of str to Sketch or None
        The projection that each layer's covariance is taken of.
    device : device
        Where what has no sample yet is accumulated.
    scatter : bool
        Whether covariances are kept, where they are needed; if not, those of another measurement are used
        (`SplitResult.totals`).
    """

    def __init__(
        self, request: PassRequest, sketches: Mapping[str, Sketch | None], device: torch.device, *, scatter: bool = True
    ) -> None:
        self.request = request
        self.scatter = scatter
        self.device = device
        self.moments: dict[Key, ClassMoments] = {}
        self.narrow: dict[Key, ClassMoments] = {}
        self.joint: dict[Key, TargetAccumulator] = {}
        #: Mean square by which the rounding of a wide layer's coordinates is judged, and its width.
        self.spanned: dict[Key, tuple[float, int]] = {}
        self.wide = {reading.name for reading in request.wide}
        roundings = {reading.name: reading.rounding for reading in request.readings}
        self._fresh = _Fresh(request, sketches, roundings, self.wide, scatter)

    def update(
        self, reading: LayerReading, features: Tensor, narrow: Tensor | None, kept: Tensor | None, views: TargetViews
    ) -> None:
        """Take in the features of one layer.

        Parameters
        ----------
        reading : LayerReading
        features : Tensor
            Shape ``(n, d)``.
        narrow : Tensor or None
            Their projection, where the covariance is taken of one.
        kept : Tensor or None
            The samples whose features are finite.
        views : dict of str to TargetView
        """
        for target, view in views.items():
            key = (target, reading.name)
            values, rows = _counted(view, kept, features.device)
            if target in self.request.dimensions:
                if reading.name not in self.wide:
                    self._update_joint(key, _rows(features if narrow is None else narrow, rows), values)
                continue
            if key not in self.moments:
                self.moments[key] = self._fresh.moments(key)
            self.moments[key].update(_rows(features, rows), values)
            if narrow is not None:
                self._update_narrow(key, _rows(narrow, rows), values)

    def update_narrow(
        self, reading: LayerReading, coordinates: Tensor, kept: Tensor | None, views: TargetViews, squares: float
    ) -> None:
        """Take in all samples of a wide layer in coordinates of their span; the rest is as for `update`.

        Parameters
        ----------
        coordinates : Tensor
            Shape ``(n, r)``.
        squares : float
            Mean square of a coordinate by which its rounding is judged (`layerwise.statistics.Isometry.squares`).
        """
        for target, view in views.items():
            key = (target, reading.name)
            values, rows = _counted(view, kept, coordinates.device)
            self.spanned[key] = (squares, reading.features)
            update = self._update_joint if target in self.request.dimensions else self._update_narrow
            update(key, _rows(coordinates, rows), values)

    def _update_narrow(self, key: Key, narrow: Tensor, labels: Tensor) -> None:
        if key not in self.narrow:
            self.narrow[key] = self._fresh.narrow(key)
        self.narrow[key].update(narrow, labels)

    def _update_joint(self, key: Key, features: Tensor, values: Tensor) -> None:
        if "regression" not in self.request.needs:
            return
        if key not in self.joint:
            self.joint[key] = self._fresh.joint(key)
        self.joint[key].update(features, values)

    @property
    def finite(self) -> bool:
        """Whether all features so far were finite."""
        norms = [moments.norm.cpu() for moments in self.moments.values() if len(moments.counts)]
        norms += [joint.norm.cpu() for joint in self.joint.values() if joint.count]
        return not norms or bool(torch.isfinite(torch.stack(norms)).all())

    def state(self) -> State:
        """Return what was accumulated so far."""
        return {
            "moments": {key: state_of(moments) for key, moments in self.moments.items()},
            "narrow": {key: state_of(moments) for key, moments in self.narrow.items()},
            "joint": {key: state_of(joint) for key, joint in self.joint.items()},
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.moments = {
            key: restore(self._fresh.moments(key), own, self.device) for key, own in state["moments"].items()
        }
        self.narrow = {key: restore(self._fresh.narrow(key), own, self.device) for key, own in state["narrow"].items()}
        self.joint = {key: restore(self._fresh.joint(key), own, self.device) for key, own in state["joint"].items()}

    def move(self, rows: Mapping[str, Tensor]) -> None:
        """Move every class of a target to its new row."""
        for (target, _), moments in [*self.moments.items(), *self.narrow.items()]:
            if target in rows:
                moments.move(rows[target], len(self.request.vocabularies[target]))

    def merge(self, shared: bool) -> None:
        """Take in what the other processes accumulated, if the samples are shared."""
        for own, make in ((self.moments, self._fresh.moments), (self.narrow, self._fresh.narrow)):
            for key in union(own, shared):
                own[key] = merge_across_processes(own.get(key), partial(make, key), self.device, shared)
        for key in union(self.joint, shared):
            make_joint = partial(self._fresh.joint, key)
            self.joint[key] = merge_across_processes(self.joint.get(key), make_joint, self.device, shared)

    def finish(self, result: SplitResult, train: SplitResult, spans: Mapping[str, Span]) -> None:
        """Put the finished statistics into the evidence of a result; the accumulator is emptied.

        Parameters
        ----------
        result : SplitResult
            The result for the same samples.
        train : SplitResult
            The split whose readout and units judge the regression targets; `result` itself for the training split.
        spans : mapping of str to Span
            Isometries of wide layers of few samples.
        """
        for key in list(self.moments):
            finish_classes(key, self.moments.pop(key), self.narrow.pop(key, None), self.spanned.get(key), result)
        for key in [key for key, joint in self.joint.items() if joint.count]:
            moments = self.joint.pop(key).finish(None if self.scatter else result.totals[key])
            standardize = self.request.settings.standardize
            finish_regression(
                key, moments, self.spanned.get(key), spans.get(key[1]), result, train, standardize=standardize
            )


@dataclass(frozen=True)
class _Fresh:
    """Makes the accumulators of a target and layer, before they have a sample."""

    request: PassRequest
    sketches: Mapping[str, Sketch | None]
    roundings: Mapping[str, float]
    wide: Collection[str]
    scatter: bool

    def moments(self, key: Key) -> ClassMoments:
        """Moments of the features, with their covariance unless that is taken of something else."""
        needed = bool({"covariance", "probe"} & self.request.needs) and bool(self.request.plan.covariance_width)
        scatter = self.scatter and needed and self.sketches[key[1]] is None and key[1] not in self.wide
        return ClassMoments(self.request.rows(key[0]), scatter=scatter, rounding=self.roundings[key[1]])

    def narrow(self, key: Key) -> ClassMoments:
        """Moments of what the covariance is taken of."""
        return ClassMoments(self.request.rows(key[0]), scatter=self.scatter, rounding=self.roundings[key[1]])

    def joint(self, key: Key) -> TargetAccumulator:
        """Moments of the features and of a regression target."""
        return TargetAccumulator(features=self.scatter, rounding=self.roundings[key[1]])


def _counted(view: TargetView, kept: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """The labels or values of the samples that count, and which samples these are; None for all."""
    values, counts = view
    rows = count_in_both(kept, counts)
    values = values.to(device)
    return (values if rows is None else values[rows.to(device)]), rows


def _rows(features: Tensor, rows: Tensor | None) -> Tensor:
    return features if rows is None else features[rows.to(features.device)]
