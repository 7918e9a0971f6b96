"""Pass 2: every sample seen from the class means, with no ``(d, d)`` matrix.

The residuals from the class means, taken once a batch and multiplied with an orthonormal basis of the span of those
means, give both the nearest class mean of every sample and the within-class scatter that ``tr(S_W S_B^+)`` sees;
multiplied with the weights of a linear classifier, its scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.statistics.moments import Moments
from layerwise.statistics.probe import RidgeProbe
from layerwise.statistics.residuals import residuals

__all__ = ["JUDGED", "KEPT_SCORES", "CenterProjections", "Centers", "NearestCenters", "Span"]

# Squared distances between all pairs of centres are kept up to this many; beyond it they are taken per batch.
_KEPT_PAIRS = 4096
#: Samples are judged as many at a time as have so many distances and scores.
JUDGED = 1 << 22
#: Scores of the probe at all class means are kept up to this many.
KEPT_SCORES = 1 << 20


@dataclass(frozen=True)
class Centers:
    """Class means as a frame to look from; ``k`` classes, ``r = min(k, d)`` directions.

    The last row of `points` and `coordinates` is the mean of the class means: the reference of samples whose class
    has no mean here.

    Attributes
    ----------
    classes : Tensor of int
        Labels of the classes, shape ``(k,)``.
    rows : Tensor of int
        Row of every label in `points`, shape ``(C,)``.
    points : Tensor
        Shape ``(k + 1, d)``.
    frame : Tensor
        Orthonormal rows that span the centred class means, shape ``(r, d)``; below them, perhaps, the weights of a
        linear classifier, so that one product sees both.
    coordinates : Tensor
        The centred class means in that basis, shape ``(k + 1, r)``.
    counts : Tensor
        Samples behind every mean, shape ``(k,)``.
    """

    classes: Tensor
    rows: Tensor
    points: Tensor
    frame: Tensor
    coordinates: Tensor
    counts: Tensor

    @classmethod
    def of(cls, moments: Moments, classes: int, device: torch.device | str = "cpu") -> Centers:
        """The frame of finished moments, for labels in ``0 .. classes - 1``."""
        centered = torch.from_numpy(moments.centered).to(device)
        present = torch.from_numpy(moments.classes).to(device)
        means = torch.from_numpy(moments.means).to(device)
        basis = torch.linalg.qr(centered.T).Q.T.contiguous()
        rows = torch.full((classes,), len(present), device=device)
        rows[present] = torch.arange(len(present), device=device)
        return cls(
            classes=present,
            rows=rows,
            points=torch.cat([means, means.mean(0, keepdim=True)]),
            frame=basis,
            coordinates=torch.cat([centered @ basis.T, basis.new_zeros(1, len(basis))]),
            counts=torch.from_numpy(moments.counts).to(device),
        )

    @property
    def basis(self) -> Tensor:
        """The orthonormal rows alone, shape ``(r, d)``."""
        return self.frame[: self.coordinates.shape[1]]

    def beside(self, weight: Tensor) -> Centers:
        """The same centres, with the weights of a linear classifier, shape ``(d, k)``, in the frame."""
        return replace(self, frame=torch.cat([self.basis, weight.T.to(self.frame)]))

    def covering(self, classes: int) -> Centers:
        """The same centres, for labels in ``0 .. classes - 1``; those beyond the known ones have no mean."""
        missing = classes - len(self.rows)
        if missing <= 0:
            return self
        beyond = self.rows.new_full((missing,), len(self.classes))
        return replace(self, rows=torch.cat([self.rows, beyond]))

    def nearest(self, projected: Tensor, rows: Tensor) -> Tensor:
        """Label of the class mean nearest to every sample, shape ``(n,)``.

        ``||h - mu_k||^2 - ||h - mu_y||^2 = ||mu_k - mu_y||^2 - 2 (h - mu_y).(mu_k - mu_y)`` is compared, and not the
        distances themselves: in a collapsed layer they agree in nearly every digit.
        """
        centers = self.coordinates[:-1]
        own = self.coordinates[rows]
        # In place: of many classes each of these is large.
        pull = (projected @ centers.T).sub_((projected * own).sum(1, keepdim=True))
        apart = torch.cdist(own, centers, compute_mode=_distance_mode(len(centers))).square_()
        return self.classes[apart.sub_(pull, alpha=2).argmin(1)]


def _project(features: Tensor, points: Tensor, rows: Tensor, *frames: Tensor) -> list[Tensor]:
    """Residuals from the points at `rows` along the rows of each frame: ``(n, d)`` to ``(n, r)`` each, float64."""
    projected = [features.new_zeros(len(features), len(frame), dtype=torch.float64) for frame in frames]
    for block, _, residual in residuals(features, points, rows):
        for coordinates, frame in zip(projected, frames, strict=True):
            coordinates.addmm_(residual, frame[:, block].T)
    return projected


def _distance_mode(centers: int) -> str:
    if centers <= _KEPT_PAIRS:
        return "donot_use_mm_for_euclid_dist"
    return "use_mm_for_euclid_dist"


@dataclass(frozen=True)
class Span:
    """Within-class scatter seen in the span of the class means; ``k`` classes, ``r`` directions.

    Attributes
    ----------
    coordinates : ndarray
        Centred class means, shape ``(k, r)``.
    within : ndarray
        ``S_W`` with every sample counting once, shape ``(r, r)``.
    within_by_class : ndarray
        ``S_W`` with every class counting once, shape ``(r, r)``.
    noise : float or None
        Variance along the sampling error of a class mean (`noise_variance`); None where it was not asked for.
    """

    coordinates: np.ndarray
    within: np.ndarray
    within_by_class: np.ndarray
    noise: float | None = None


@dataclass(frozen=True)
class NearestCenters:
    """How the samples of a split fall on the nearest class means.

    Attributes
    ----------
    counts : ndarray of int
        Samples of each label, shape ``(C,)``.
    errors : ndarray of int
        Samples of each label whose nearest class mean is another class, shape ``(C,)``.
    mismatches : int or None
        Samples whose nearest class mean is not the class that the network predicts; None without a network's own
        prediction for these labels.
    centers : int
        Number of class means that there are to fall on.
    """

    counts: np.ndarray
    errors: np.ndarray
    mismatches: int | None
    centers: int


class CenterProjections:
    """Accumulates what pass 2 needs of one layer: scatter about the split's own means, nearest of the train means.

    Parameters
    ----------
    own : Centers
        The split's own class means.
    train : Centers
        The class means that the samples are judged against; the same object for the training split, so that one
        product serves both.
    probe : RidgeProbe, optional
        A linear classifier of the same features, whose weights are in the frame of `train`: its scores come beside.

    Attributes
    ----------
    at_a_time : int
        Samples that are best taken in at once: beyond it, distances and scores of all classes take much memory.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("scatter", "scatter_by_class", "counts", "errors", "mismatches")

    def __init__(self, own: Centers, train: Centers, probe: RidgeProbe | None = None) -> None:
        self.own = own
        self.train = train
        self.judge = probe
        self._start = self._projected_centers()
        self._scores_of_label = self._scores_of_labels()
        self.at_a_time = max(JUDGED // max(len(own.points), len(train.points)), 1)
        directions, device = len(own.basis), own.basis.device
        self.scatter = torch.zeros(directions, directions, dtype=torch.float64, device=device)
        self.scatter_by_class = torch.zeros_like(self.scatter)
        self.counts = torch.zeros(len(train.rows), dtype=torch.int64, device=device)
        self.errors = torch.zeros_like(self.counts)
        self.mismatches: Tensor | None = None

    def update(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Take in a batch, features ``(n, d)`` and labels ``(n,)``.

        Returns
        -------
        nearest : Tensor
            The nearest class of every sample, shape ``(n,)``.
        scores : Tensor or None
            Of the probe, shape ``(n, k)``.
        """
        rows = self.own.rows[labels]
        frames = [self.train.frame] if self.train is self.own else [self.own.basis, self.train.frame]
        seen = _project(features, self.own.points, rows, *frames)
        own, judged = seen[0][:, : len(self.scatter)], seen[-1][:, : len(self.train.basis)]
        if self._start is not None:
            judged = judged + self._start[labels]
        self.scatter.addmm_(own.T, own)
        self.scatter_by_class.addmm_(own.T, own / self.own.counts[rows][:, None])
        nearest = self.train.nearest(judged, self.train.rows[labels])
        self.counts += torch.bincount(labels, minlength=len(self.counts))
        self.errors += torch.bincount(labels[nearest != labels], minlength=len(self.counts))
        if self.judge is None:
            return nearest, None
        known = self._scores_of_label
        at_centers = self._scores(self.own.points[rows]) if known is None else known[labels]
        return nearest, seen[-1][:, judged.shape[1] :].add_(at_centers)

    def _projected_centers(self) -> Tensor | None:
        """Each label's own centre as seen from the one that judges it, ``(C, r)``; None where they are the same."""
        own, train = self.own, self.train
        if train is own:
            return None
        return _project(own.points[own.rows], train.points, train.rows[: len(own.rows)], train.basis)[0]

    def _scores_of_labels(self) -> Tensor | None:
        """Scores of the probe at each label's own centre, ``(C, k)``; None for more than are worth keeping."""
        if self.judge is None or len(self.own.rows) * len(self.judge.bias) > KEPT_SCORES:
            return None
        return self._scores(self.own.points)[self.own.rows]

    def _scores(self, points: Tensor) -> Tensor:
        """Scores of the probe, ``(n, d)`` to ``(n, k)``."""
        assert self.judge is not None
        mean, bias = (torch.from_numpy(value).to(points.device) for value in (self.judge.mean, self.judge.bias))
        one = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        return _project(points, mean[None], one, self.train.frame[len(self.train.basis) :])[0].add_(bias)

    def compare(self, nearest: Tensor, predictions: Tensor) -> None:
        """Count where the nearest class is not the one that the network predicts; both of shape ``(n,)``."""
        differing = (nearest != predictions).sum()
        self.mismatches = differing if self.mismatches is None else self.mismatches + differing

    def merge(self, other: CenterProjections) -> None:
        """Take in what another worker accumulated over other samples, from the same centres."""
        for name in ("scatter", "scatter_by_class", "counts", "errors"):
            getattr(self, name).add_(getattr(other, name))
        if other.mismatches is not None:
            self.mismatches = other.mismatches + (0 if self.mismatches is None else self.mismatches)

    def finish(self) -> tuple[Span, NearestCenters]:
        """What was accumulated, as arrays."""
        counts = self.own.counts
        span = Span(
            coordinates=self.own.coordinates[:-1].cpu().numpy(),
            within=(self.scatter / counts.sum()).cpu().numpy(),
            within_by_class=(self.scatter_by_class / len(counts)).cpu().numpy(),
        )
        mismatches = None if self.mismatches is None else int(self.mismatches)
        counted = (self.counts.cpu().numpy(), self.errors.cpu().numpy())
        return span, NearestCenters(*counted, mismatches, len(self.train.classes))
