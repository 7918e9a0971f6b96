"""Pass 1: class counts, class means and within-class scatter, accumulated over batches."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from layerwise.statistics.moments import Moments
from layerwise.statistics.pairing import check_paired
from layerwise.statistics.pivots import due_classes, first_pivots, move_to_means
from layerwise.statistics.residuals import residuals
from layerwise.statistics.rounding import noise_share
from layerwise.statistics.state import restore, state_of

__all__ = ["ClassMoments"]


class ClassMoments:
    """Accumulates the class moments of one layer's features over batches.

    Every class has a pivot near its mean. Residuals from the pivot are summed in float64, so that neither a common
    offset nor a collapsed class loses digits. The pivot is the mean of the class's first batch; it moves to the mean of
    all samples as the class grows, so that early outliers do no harm. ``merge`` is exact up to rounding, in any order.

    Parameters
    ----------
    classes : int
        Expected number of classes, with labels ``0 .. classes - 1``; larger labels add classes.
    scatter : bool
        Whether to keep the within-class covariance, shape ``(d, d)``.
    rounding : float
        Relative rounding of the coarsest arithmetic that made the features, if it is coarser than their type.
    """

    accumulated: ClassVar[tuple[str, ...]] = (
        *("classes", "dtype", "counts", "settled", "pivot", "total", "square", "spread", "norm", "scatter"),
    )
    _by_class: ClassVar[tuple[str, ...]] = ("counts", "settled", "pivot", "total", "square")

    def __init__(self, classes: int = 0, *, scatter: bool = False, rounding: float = 0.0) -> None:
        self.classes = classes
        self.rounding = rounding
        self.keeps_scatter = scatter
        self.counts = torch.zeros(0)
        self.settled: Tensor
        self.dtype: torch.dtype
        self.pivot: Tensor
        self.total: Tensor
        self.square: Tensor
        self.spread: Tensor
        self.norm: Tensor
        self.scatter: Tensor | None = None

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch: features of shape ``(n, d)`` and labels of shape ``(n,)`` on the same device."""
        check_paired(features, labels)
        if not len(labels):
            return
        if not len(self.counts):
            self._allocate(features)
        self._make_room(int(labels.max()) + 1)
        present, rows = torch.unique(labels, return_inverse=True)
        fresh = self.counts[present] == 0
        if bool(fresh.any()):
            self.pivot[present[fresh]] = first_pivots(features, rows, fresh, self.pivot.dtype)
        self.counts += torch.bincount(labels, minlength=self.classes)
        # A product sums the rows of few classes fastest; for many classes it would multiply mostly zeros.
        membership = torch.nn.functional.one_hot(rows).T.double() if len(present) <= 16 else None
        squares = torch.zeros(len(labels), dtype=torch.float64, device=features.device)
        norms = torch.zeros_like(squares)
        kept = features.new_empty(features.shape, dtype=torch.float64) if self.scatter is not None else None
        for block, values, residual in residuals(features, self.pivot, labels):
            squared = residual.square()
            squares += squared.sum(1)
            self.spread[block] += squared.sum(0)
            norms += torch.linalg.vector_norm(values, dim=1).square()
            _row_sums(self.total[:, block], residual, labels, present, membership)
            if kept is not None:
                kept[:, block] = residual
        if self.scatter is not None and kept is not None:
            self.scatter.addmm_(kept.T, kept)
        self.square.index_add_(0, labels, squares)
        self.norm += norms.sqrt().sum()
        _move_pivots(self, present)

    def merge(self, other: ClassMoments) -> None:
        """Add the sums of another worker over other samples."""
        if not len(other.counts):
            return
        if not len(self.counts):
            restore(self, state_of(other), other.counts.device)
            return
        self._make_room(other.classes)
        other._make_room(self.classes)
        unseen = (self.counts == 0) & (other.counts > 0)
        self.pivot[unseen] = other.pivot[unseen].to(self.pivot)
        count = other.counts.double()[:, None]
        shift = (other.pivot.double() - self.pivot.double()).to(self.total.device)
        shift[other.counts == 0] = 0.0
        if self.scatter is not None and other.scatter is not None:
            cross = shift.T @ other.total
            self.scatter += other.scatter + cross + cross.T + shift.T @ (count * shift)
        moved = shift * (2 * other.total + count * shift)
        self.square += other.square + moved.sum(1)
        self.spread += other.spread + moved.sum(0)
        self.total += other.total + count * shift
        self.counts += other.counts
        self.settled = torch.maximum(self.settled, other.settled)
        self.norm += other.norm

    def move(self, rows: Tensor, classes: int) -> None:
        """Move every class to another row.

        Parameters
        ----------
        rows : Tensor of int
            New row of each class, shape ``(k,)``, with ``k`` at least the number of classes.
        classes : int
            New number of rows.
        """
        if not len(self.counts):
            self.classes = max(self.classes, classes)
            return
        places = rows[: self.classes].to(self.counts.device)
        if torch.equal(places, torch.arange(self.classes, device=places.device)):
            return
        self.classes = classes
        for name in self._by_class:
            value = getattr(self, name)
            moved = value.new_zeros(classes, *value.shape[1:])
            moved[places] = value
            setattr(self, name, moved)

    def finish(self) -> Moments:
        """Return the moments of all samples."""
        return _finished(self)

    def _allocate(self, features: Tensor) -> None:
        width, device = features.shape[1], features.device
        self.classes = max(self.classes, 1)
        self.counts = torch.zeros(self.classes, dtype=torch.int64, device=device)
        self.settled = torch.zeros_like(self.counts)
        self.dtype = features.dtype
        precise = torch.promote_types(features.dtype, torch.float32)
        self.pivot = torch.zeros(self.classes, width, dtype=precise, device=device)
        self.total = torch.zeros(self.classes, width, dtype=torch.float64, device=device)
        self.square = torch.zeros(self.classes, dtype=torch.float64, device=device)
        self.spread = torch.zeros(width, dtype=torch.float64, device=device)
        self.norm = torch.zeros((), dtype=torch.float64, device=device)
        if self.keeps_scatter:
            self.scatter = torch.zeros(width, width, dtype=torch.float64, device=device)

    def _make_room(self, classes: int) -> None:
        missing = classes - self.classes
        if missing <= 0:
            return
        self.classes = classes
        for name in self._by_class:
            value = getattr(self, name)
            setattr(self, name, torch.cat([value, value.new_zeros(missing, *value.shape[1:])]))


def _move_pivots(sums: ClassMoments, present: Tensor) -> None:
    """Move the pivots of classes that have grown enough to the class means."""
    due = due_classes(present, sums.counts, sums.settled)
    if not len(due):
        return
    sums.settled[due] = sums.counts[due]
    count = sums.counts[due].double()[:, None]
    total = sums.total[due] if sums.scatter is not None else None
    keep = total is not None
    shift = move_to_means(due, count, sums.pivot, sums.total, sums.square, sums.spread, keep)
    if sums.scatter is not None and total is not None and shift is not None:
        cross = shift.T @ total
        sums.scatter += shift.T @ (count * shift) - cross - cross.T


def _row_sums(total: Tensor, residual: Tensor, labels: Tensor, present: Tensor, membership: Tensor | None) -> None:
    """Add the residuals of a batch to the sums of their classes, in place.

    `membership` is the matrix of the batch's classes and samples, or None.
    """
    if membership is None:
        total.index_add_(0, labels, residual)
    elif len(present) == len(total):
        total.addmm_(membership, residual)
    else:
        total[present] += membership @ residual


def _finished(sums: ClassMoments) -> Moments:
    """Return the moments of finished sums."""
    present = sums.counts > 0
    count = sums.counts[present].double()
    mean_residual = sums.total[present] / count[:, None]
    variances = (sums.square[present] / count - mean_residual.square().sum(1)).clamp_min(0.0)
    variances[count == 1] = 0.0
    means = sums.pivot[present].double() + mean_residual
    spread = (sums.spread - (mean_residual * sums.total[present]).sum(0)).clamp_min(0.0)
    within = None
    if sums.scatter is not None:
        covariance = (sums.scatter - mean_residual.T @ sums.total[present]) / count.sum()
        within = ((covariance + covariance.T) / 2).cpu().numpy()
    return Moments(
        classes=present.nonzero()[:, 0].cpu().numpy(),
        counts=count.cpu().numpy(),
        means=means.cpu().numpy(),
        variances=variances.cpu().numpy(),
        norm=float(sums.norm / count.sum()),
        within=within,
        squares=((spread + count @ means.square()) / count.sum()).cpu().numpy(),
        noise=noise_share(max(sums.rounding, torch.finfo(sums.dtype).eps / 2)),
    )
