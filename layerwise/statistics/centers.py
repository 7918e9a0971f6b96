"""Pass 2: samples relative to the class means, without a ``(d, d)`` matrix.

The features of a batch, relative to one of the class means, are multiplied once with an orthonormal basis of the span
of the class means. The product determines the nearest class mean of every sample and the within-class scatter in
``tr(S_W S_B^+)``. With the weights of a linear classifier in the same product, it has their scores too.
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

# Rounding of a product of thousands of terms, as a share of its length.
_ROUNDING = 2.0**-46
#: Largest number of distances and scores that are computed at a time.
JUDGED = 1 << 22


@dataclass(frozen=True)
class Centers:
    """Class means in an orthonormal basis of their span; ``k`` classes, ``r = min(k, d)`` directions.

    The last row of `coordinates` is the mean of the class means, the reference for samples whose class has no mean.

    Attributes
    ----------
    classes : Tensor of int
        Labels of the classes, shape ``(k,)``.
    rows : Tensor of int
        Row of every label in `coordinates`, shape ``(C,)``.
    origin : Tensor
        Mean of the first class, the origin of the coordinates, shape ``(d,)``.
    frame : Tensor
        Orthonormal rows that span the centred class means, shape ``(r, d)``; after `beside`, the weights of a linear
        classifier are further rows, so that one product serves both.
    coordinates : Tensor
        The class means in that basis, relative to the origin, shape ``(k + 1, r)``.
    counts : Tensor
        Samples of every class, shape ``(k,)``.
    """

    classes: Tensor
    rows: Tensor
    origin: Tensor
    frame: Tensor
    coordinates: Tensor
    counts: Tensor

    @classmethod
    def of(cls, moments: Moments, classes: int, device: torch.device | str = "cpu") -> Centers:
        """Make the centres of finished moments, for labels in ``0 .. classes - 1``."""
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
        """Add the weights of a linear classifier, shape ``(d, k)``, to the frame."""
        return replace(self, frame=torch.cat([self.basis, weight.T.to(self.frame)]))

    def covering(self, classes: int) -> Centers:
        """Extend the labels to ``0 .. classes - 1``; the new ones have no mean."""
        missing = classes - len(self.rows)
        if missing <= 0:
            return self
        unknown = self.rows.new_full((missing,), len(self.classes))
        return replace(self, rows=torch.cat([self.rows, unknown]))

    def nearest(self, projected: Tensor, rows: Tensor) -> Tensor:
        """Return the label of the class mean nearest to every sample, shape ``(n,)``.

        The comparison is of ``||mu_k||^2 - 2 h.mu_k``, which is one product. Where rounding leaves more than one
        candidate, it is of ``||mu_k - mu_y||^2 - 2 (h - mu_y).(mu_k - mu_y)``, which is exact for close means too.

        Parameters
        ----------
        projected : Tensor
            Samples relative to their class means, in the basis, shape ``(n, r)``.
        rows : Tensor of int
            Rows of these class means, shape ``(n,)``.
        """
        centers, own_means = self.coordinates[:-1], self.coordinates[rows]
        positions = own_means + projected
        distances = torch.addmm(self.lengths.square(), positions, centers.T, alpha=-2)
        least, nearest = distances.min(1)
        reach = self.lengths.max()
        rounding = 4 * _ROUNDING * reach * (reach + torch.linalg.vector_norm(positions, dim=1))
        unsure = (distances <= (least + rounding)[:, None]).sum(1) > 1
        if unsure.any():
            nearest[unsure] = self._nearest_by_differences(projected[unsure], own_means[unsure])
        return self.classes[nearest]

    def _nearest_by_differences(self, projected: Tensor, own_means: Tensor) -> Tensor:
        """Return the row of the nearest class mean, from differences between class means."""
        centers = self.coordinates[:-1]
        # In place: for many classes, each of these matrices is large.
        pull = (projected @ centers.T).sub_((projected * own_means).sum(1, keepdim=True))
        squares = torch.cdist(own_means, centers, compute_mode="donot_use_mm_for_euclid_dist").square_()
        return squares.sub_(pull, alpha=2).argmin(1)


def _project(features: Tensor, origin: Tensor, *frames: Tensor) -> list[Tensor]:
    """Project features, relative to the origin, on the rows of each frame: ``(n, d)`` to ``(n, r)`` each, float64."""
    projected = [features.new_zeros(len(features), len(frame), dtype=torch.float64) for frame in frames]
    for block, residual in seen_from(features, origin):
        for coordinates, frame in zip(projected, frames, strict=True):
            coordinates.addmm_(residual, frame[:, block].T)
    return projected


@dataclass(frozen=True)
class Span:
    """Within-class scatter in the span of the class means; ``k`` classes, ``r`` directions.

    Attributes
    ----------
    coordinates : ndarray
        Centred class means, shape ``(k, r)``.
    within : ndarray
        ``S_W`` with equal weight for every sample, shape ``(r, r)``.
    within_by_class : ndarray
        ``S_W`` with equal weight for every class, shape ``(r, r)``.
    noise : float or None
        Variance along the sampling error of a class mean (`noise_variance`); None unless a metric needs it.
    """

    coordinates: np.ndarray
    within: np.ndarray
    within_by_class: np.ndarray
    noise: float | None = None


@dataclass(frozen=True)
class NearestCenters:
    """Counts of the samples of a split and of their nearest class means.

    Attributes
    ----------
    counts : ndarray of int
        Samples of each label, shape ``(C,)``.
    errors : ndarray of int
        Samples of each label whose nearest class mean is another class, shape ``(C,)``.
    mismatches : int or None
        Samples whose nearest class mean is not the class that the network predicts; None if the network does not
        predict these labels.
    centers : int
        Number of class means.
    """

    counts: np.ndarray
    errors: np.ndarray
    mismatches: int | None
    centers: int


class CenterProjections:
    """Accumulates pass 2 of one layer: the scatter about the split's class means, and the nearest training means.

    Parameters
    ----------
    own : Centers
        Class means of this split.
    train : Centers
        Class means of the training split; for that split the same object, so that one product serves both.
    probe : RidgeProbe, optional
        A linear classifier of the same features, whose weights are in the frame of `train`; `update` returns its
        scores.

    Attributes
    ----------
    at_a_time : int
        Largest number of samples that an update should have, for the memory of distances and scores of all classes.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("scatter", "scatter_by_class", "counts", "errors", "mismatches")

    def __init__(self, own: Centers, train: Centers, probe: RidgeProbe | None = None) -> None:
        self.own = own
        self.train = train
        self.judge = probe
        # The training means relative to the origin of the split's own.
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
        """Add a batch: features ``(n, d)`` and labels ``(n,)``.

        Returns
        -------
        nearest : Tensor
            The nearest class of every sample, shape ``(n,)``.
        scores : Tensor or None
            Scores of the probe, shape ``(n, k)``.
        """
        check_paired(features, labels)
        rows, train_rows = self.own.rows[labels], self.train.rows[labels]
        frames = [self.train.frame] if self.train is self.own else [self.own.basis, self.train.frame]
        projected = _project(features, self.own.origin, *frames)
        residual = projected[0][:, : len(self.scatter)]
        # A difference before the product would need the class mean of every sample in all features. In float64 this
        # difference keeps six digits down to an nc1 of 1e-20; residuals within rounding count as zero.
        rounding = _ROUNDING * torch.linalg.vector_norm(residual, dim=1, keepdim=True)
        residual = residual - self.own.coordinates[rows]
        residual.masked_fill_(residual.abs() <= rounding, 0.0)
        from_train = residual
        if self.train is not self.own:
            from_train = projected[-1][:, : len(self.train.basis)] - self._train_coordinates[train_rows]
        self.scatter.addmm_(residual.T, residual)
        self.scatter_by_class.addmm_(residual.T, residual / self.own.counts[rows][:, None])
        nearest = self.train.nearest(from_train, train_rows)
        self.counts += torch.bincount(labels, minlength=len(self.counts))
        self.errors += torch.bincount(labels[nearest != labels], minlength=len(self.counts))
        if self._scores is None:
            return nearest, None
        return nearest, projected[-1][:, len(self.train.basis) :].add_(self._scores)

    def _scores_at_origin(self, probe: RidgeProbe) -> Tensor:
        """Return the probe's scores at the origin, shape ``(1, k)``."""
        origin = self.own.origin
        mean, bias = (torch.from_numpy(value).to(origin.device) for value in (probe.mean, probe.bias))
        return _project(origin[None], mean, self.train.frame[len(self.train.basis) :])[0].add_(bias)

    def compare(self, nearest: Tensor, predictions: Tensor) -> None:
        """Count samples whose nearest class differs from the network's prediction; shape ``(n,)`` each."""
        check_paired(nearest, predictions)
        differing = (nearest != predictions).sum()
        self.mismatches = differing if self.mismatches is None else self.mismatches + differing

    def merge(self, other: CenterProjections) -> None:
        """Add the sums of another worker over other samples, with the same centres."""
        for name in ("scatter", "scatter_by_class", "counts", "errors"):
            getattr(self, name).add_(getattr(other, name))
        if other.mismatches is not None:
            self.mismatches = other.mismatches + (0 if self.mismatches is None else self.mismatches)

    def finish(self) -> tuple[Span, NearestCenters]:
        """Return the results as arrays."""
        counts = self.own.counts
        span = Span(
            coordinates=self.own.centered.cpu().numpy(),
            within=(self.scatter / counts.sum()).cpu().numpy(),
            within_by_class=(self.scatter_by_class / len(counts)).cpu().numpy(),
        )
        mismatches = None if self.mismatches is None else int(self.mismatches)
        counted = (self.counts.cpu().numpy(), self.errors.cpu().numpy())
        return span, NearestCenters(*counted, mismatches, len(self.train.classes))
