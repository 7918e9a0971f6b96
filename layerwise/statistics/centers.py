"""Pass 2: every sample seen from the class means, with no ``(d, d)`` matrix.

The features, seen from one of the class means and multiplied with an orthonormal basis of the span of those means
once a batch, give both the nearest class mean of every sample and the within-class scatter that ``tr(S_W S_B^+)`` sees;
multiplied with the weights of a linear classifier, its scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.statistics.moments import Moments
from layerwise.statistics.pairing import check_paired
from layerwise.statistics.probe import RidgeProbe
from layerwise.statistics.residuals import seen_from

__all__ = ["JUDGED", "CenterProjections", "Centers", "NearestCenters", "Span"]

# Of a product of thousands of terms, as the share of its length.
_ROUNDING = 2.0**-46
#: Samples are judged as many at a time as have so many distances and scores.
JUDGED = 1 << 22


@dataclass(frozen=True)
class Centers:
    """Class means as a frame to look from; ``k`` classes, ``r = min(k, d)`` directions.

    The last row of `coordinates` is the mean of the class means: the reference of samples whose class has no mean here.

    Attributes
    ----------
    classes : Tensor of int
        Labels of the classes, shape ``(k,)``.
    rows : Tensor of int
        Row of every label in `coordinates`, shape ``(C,)``.
    origin : Tensor
        Mean of the first class, from which all is seen, shape ``(d,)``.
    frame : Tensor
        Orthonormal rows that span the centred class means, shape ``(r, d)``; below them, perhaps, the weights of a
        linear classifier, so that one product sees both.
    coordinates : Tensor
        The class means in that basis, as seen from the origin, shape ``(k + 1, r)``.
    counts : Tensor
        Samples behind every mean, shape ``(k,)``.
    """

    classes: Tensor
    rows: Tensor
    origin: Tensor
    frame: Tensor
    coordinates: Tensor
    counts: Tensor

    @classmethod
    def of(cls, moments: Moments, classes: int, device: torch.device | str = "cpu") -> Centers:
        """The frame of finished moments, for labels in ``0 .. classes - 1``."""
        centered = torch.from_numpy(moments.centered).to(device)
        present = torch.from_numpy(moments.classes).to(device)
        basis = torch.linalg.qr(centered.T).Q.T.contiguous()
        rows = torch.full((classes,), len(present), device=device)
        rows[present] = torch.arange(len(present), device=device)
        return cls(
            classes=present,
            rows=rows,
            origin=torch.from_numpy(moments.means[0]).to(device),
            frame=basis,
            coordinates=torch.cat([centered - centered[0], -centered[:1]]) @ basis.T,
            counts=torch.from_numpy(moments.counts).to(device),
        )

    @property
    def basis(self) -> Tensor:
        """The orthonormal rows alone, shape ``(r, d)``."""
        return self.frame[: self.coordinates.shape[1]]

    @property
    def centered(self) -> Tensor:
        """The class means less their mean, in the basis, shape ``(k, r)``."""
        return self.coordinates[:-1] - self.coordinates[-1]

    @cached_property
    def lengths(self) -> Tensor:
        """Distances of the class means from the origin, shape ``(k,)``."""
        lengths: Tensor = torch.linalg.vector_norm(self.coordinates[:-1], dim=1)
        return lengths

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

        ``||mu_k||^2 - 2 h.mu_k`` is compared, one product; where its rounding leaves more than one mean,
        ``||mu_k - mu_y||^2 - 2 (h - mu_y).(mu_k - mu_y)``, which tells means apart however close they lie.
        """
        centers, own = self.coordinates[:-1], self.coordinates[rows]
        seen = own + projected
        distances = torch.addmm(self.lengths.square(), seen, centers.T, alpha=-2)
        least, nearest = distances.min(1)
        reach = self.lengths.max()
        rounding = 4 * _ROUNDING * reach * (reach + torch.linalg.vector_norm(seen, dim=1))
        unsure = (distances <= (least + rounding)[:, None]).sum(1) > 1
        if unsure.any():
            nearest[unsure] = self._nearest_apart(projected[unsure], own[unsure])
        return self.classes[nearest]

    def _nearest_apart(self, projected: Tensor, own: Tensor) -> Tensor:
        """Row of the nearest class mean, by what lies between it and the sample's own."""
        centers = self.coordinates[:-1]
        # In place: of many classes each of these is large.
        pull = (projected @ centers.T).sub_((projected * own).sum(1, keepdim=True))
        apart = torch.cdist(own, centers, compute_mode="donot_use_mm_for_euclid_dist").square_()
        return apart.sub_(pull, alpha=2).argmin(1)


def _project(features: Tensor, origin: Tensor, *frames: Tensor) -> list[Tensor]:
    """Features as seen from the origin, along the rows of each frame: ``(n, d)`` to ``(n, r)`` each, float64."""
    projected = [features.new_zeros(len(features), len(frame), dtype=torch.float64) for frame in frames]
    for block, residual in seen_from(features, origin):
        for coordinates, frame in zip(projected, frames, strict=True):
            coordinates.addmm_(residual, frame[:, block].T)
    return projected


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
        # The train means, as they are seen from where the split's own are.
        self._train_coordinates = train.coordinates + _project(train.origin[None], own.origin, train.basis)[0]
        self._scores = None if probe is None else self._scores_at_origin(probe)
        self.at_a_time = max(JUDGED // max(len(own.coordinates), len(train.coordinates)), 1)
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
        check_paired(features, labels)
        rows, judges = self.own.rows[labels], self.train.rows[labels]
        frames = [self.train.frame] if self.train is self.own else [self.own.basis, self.train.frame]
        seen = _project(features, self.own.origin, *frames)
        own = seen[0][:, : len(self.scatter)]
        # Not before the product: that would need the class mean of every sample in all features. In float64 the
        # difference keeps six digits down to an nc1 of 1e-20, and what is within its rounding is no residual.
        rounding = _ROUNDING * torch.linalg.vector_norm(own, dim=1, keepdim=True)
        own = own - self.own.coordinates[rows]
        own.masked_fill_(own.abs() <= rounding, 0.0)
        judged = own
        if self.train is not self.own:
            judged = seen[-1][:, : len(self.train.basis)] - self._train_coordinates[judges]
        self.scatter.addmm_(own.T, own)
        self.scatter_by_class.addmm_(own.T, own / self.own.counts[rows][:, None])
        nearest = self.train.nearest(judged, judges)
        self.counts += torch.bincount(labels, minlength=len(self.counts))
        self.errors += torch.bincount(labels[nearest != labels], minlength=len(self.counts))
        if self._scores is None:
            return nearest, None
        return nearest, seen[-1][:, len(self.train.basis) :].add_(self._scores)

    def _scores_at_origin(self, probe: RidgeProbe) -> Tensor:
        """Scores where the features are seen from, shape ``(1, k)``."""
        origin = self.own.origin
        mean, bias = (torch.from_numpy(value).to(origin.device) for value in (probe.mean, probe.bias))
        return _project(origin[None], mean, self.train.frame[len(self.train.basis) :])[0].add_(bias)

    def compare(self, nearest: Tensor, predictions: Tensor) -> None:
        """Count where the nearest class is not the one that the network predicts; both of shape ``(n,)``."""
        check_paired(nearest, predictions)
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
            coordinates=self.own.centered.cpu().numpy(),
            within=(self.scatter / counts.sum()).cpu().numpy(),
            within_by_class=(self.scatter_by_class / len(counts)).cpu().numpy(),
        )
        mismatches = None if self.mismatches is None else int(self.mismatches)
        counted = (self.counts.cpu().numpy(), self.errors.cpu().numpy())
        return span, NearestCenters(*counted, mismatches, len(self.train.classes))
