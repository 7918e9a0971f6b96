"""Pass 1: class counts, class means and within-class scatter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.statistics.pairing import check_paired
from layerwise.statistics.residuals import columns, residuals
from layerwise.statistics.rounding import Range, noise_share, range_of
from layerwise.statistics.state import restore, state_of

__all__ = ["ClassMoments", "Moments"]

# A pivot moves whenever its class has grown so many times, until it was the mean of so many samples.
_GROWTH = 4
_SETTLED = 64


@dataclass(frozen=True)
class Moments:
    """Finished class moments of one layer; ``k`` classes are present, ``d`` features.

    Attributes
    ----------
    classes : ndarray of int
        Labels of the classes that have a sample, ascending, shape ``(k,)``.
    counts : ndarray of float
        Samples of each class, shape ``(k,)``.
    means : ndarray
        Class means, shape ``(k, d)``.
    variances : ndarray
        ``v_c = mean ||h - mu_c||^2`` of each class, shape ``(k,)``.
    norm : float
        ``mean ||h||``.
    within : ndarray or None
        Within-class covariance ``S_W``, every sample counting once, shape ``(d, d)``.
    squares : ndarray
        ``mean h_j^2`` of every feature, shape ``(d,)``.
    noise : float
        Variance that rounding gives a feature, in units of its mean square (`layerwise.statistics.rounding`).
    fourth : float or None
        ``mean ||h - mean h||^4``, which takes a second pass.
    width : int or None
        Features of the layer itself, where these are coordinates in the span of its samples; None where they are all.
    """

    classes: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    norm: float
    within: np.ndarray | None
    squares: np.ndarray
    noise: float
    fourth: float | None = None
    width: int | None = None

    @property
    def features(self) -> int:
        """Features of the layer, ``d``."""
        return self.means.shape[1] if self.width is None else self.width

    @cached_property
    def centered(self) -> np.ndarray:
        """Class means less their mean, ``m_c = mu_c - mu_G``, shape ``(k, d)``."""
        # From the first class on, so that equal means differ by zero; what is within their rounding is no difference.
        apart = self.means - self.means[0]
        apart[np.abs(apart) <= 4 * np.finfo(np.float64).eps * np.abs(self.means[0])] = 0.0
        return np.asarray(apart - apart.mean(0))

    @cached_property
    def shares(self) -> np.ndarray:
        """Share of the samples in each class, shape ``(k,)``."""
        return np.asarray(self.counts / self.counts.sum())

    def by_label(self, values: np.ndarray) -> np.ndarray:
        """Lay the values of the present classes out by label, NaN where a label has no sample."""
        spread = np.full(int(self.classes[-1]) + 1, np.nan)
        spread[self.classes] = values
        return spread

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance of all features, ``S_W`` and the scatter of the class means by samples, shape ``(d, d)``."""
        assert self.within is not None
        apart = self.centered - self.shares @ self.centered
        return np.asarray(self.within + apart.T @ (self.shares[:, None] * apart))

    def within_total(self, covariance: np.ndarray) -> Moments:
        """The same with ``S_W``, given the covariance of all features: what the scatter of the class means leaves."""
        apart = self.centered - self.shares @ self.centered
        return replace(self, within=covariance - apart.T @ (self.shares[:, None] * apart))

    @cached_property
    def range(self) -> Range:
        """The directions in which the features vary by more than rounding."""
        return range_of(self.covariance, self.squares, self.noise, float(self.counts.sum()))

    @cached_property
    def within_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of ``S_W`` along `range`, ascending, none below zero, ``(r,)``, and eigenvectors ``(r, r)``."""
        assert self.within is not None
        along = self.range.axes
        values, axes = np.linalg.eigh(along.T @ self.within @ along)
        return values.clip(min=0.0), axes

    @cached_property
    def spectrum(self) -> np.ndarray:
        """Eigenvalues of the covariance of all features, descending, none below zero."""
        return np.asarray(np.linalg.eigvalsh(self.covariance)[::-1].clip(min=0.0))


class ClassMoments:
    """Accumulates the class moments of one layer's features over batches.

    Every class has a pivot near its mean; sums are of residuals from it, in float64, so that neither a common offset
    nor a collapsed class loses digits. The pivot is the mean of the class's first batch, and moves to the mean of all
    as the class grows, so that an outlier in front does no harm. ``merge`` is exact up to rounding, in
    any order.

    Parameters
    ----------
    classes : int
        Number of classes that are expected, labels ``0 .. classes - 1``; a greater label makes room for itself.
    scatter : bool
        Whether to keep the within-class covariance, shape ``(d, d)``, too.
    rounding : float
        Relative rounding of the coarsest arithmetic that makes the features, if that of their type is finer.
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
        """Take in a batch: features of shape ``(n, d)``, labels of shape ``(n,)`` on the same device."""
        check_paired(features, labels)
        if not len(labels):
            return
        if not len(self.counts):
            self._allocate(features)
        self._make_room(int(labels.max()) + 1)
        present, rows = torch.unique(labels, return_inverse=True)
        self._set_pivots(features, present, rows)
        self.counts += torch.bincount(labels, minlength=self.classes)
        # For few classes a product sums their rows fastest; for many it would multiply mostly zeros.
        membership = torch.nn.functional.one_hot(rows).T.double() if len(present) <= 16 else None
        squares = torch.zeros(len(labels), dtype=torch.float64, device=features.device)
        norms = torch.zeros_like(squares)
        whole = features.new_empty(features.shape, dtype=torch.float64) if self.scatter is not None else None
        everyone = len(present) == self.classes
        for block, values, residual in residuals(features, self.pivot, labels):
            squared = residual.square()
            squares += squared.sum(1)
            self.spread[block] += squared.sum(0)
            norms += torch.linalg.vector_norm(values, dim=1).square()
            if membership is None:
                self.total[:, block].index_add_(0, labels, residual)
            elif everyone:
                self.total[:, block].addmm_(membership, residual)
            else:
                self.total[present, block] += membership @ residual
            if whole is not None:
                whole[:, block] = residual
        if self.scatter is not None and whole is not None:
            self.scatter.addmm_(whole.T, whole)
        self.square.index_add_(0, labels, squares)
        self.norm += norms.sqrt().sum()
        self._move_pivots(present)

    def merge(self, other: ClassMoments) -> None:
        """Take in what another worker accumulated over other samples."""
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
        """Give every class another row.

        Parameters
        ----------
        rows : Tensor of int
            Where each row moves to, shape ``(k,)``, with ``k`` no less than there are classes.
        classes : int
            How many rows there are then.
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
        """The moments of everything taken in."""
        present = self.counts > 0
        count = self.counts[present].double()
        mean_residual = self.total[present] / count[:, None]
        variances = (self.square[present] / count - mean_residual.square().sum(1)).clamp_min(0.0)
        variances[count == 1] = 0.0
        means = self.pivot[present].double() + mean_residual
        spread = (self.spread - (mean_residual * self.total[present]).sum(0)).clamp_min(0.0)
        within = None
        if self.scatter is not None:
            covariance = (self.scatter - mean_residual.T @ self.total[present]) / count.sum()
            within = ((covariance + covariance.T) / 2).cpu().numpy()
        return Moments(
            classes=present.nonzero()[:, 0].cpu().numpy(),
            counts=count.cpu().numpy(),
            means=means.cpu().numpy(),
            variances=variances.cpu().numpy(),
            norm=float(self.norm / count.sum()),
            within=within,
            squares=((spread + count @ means.square()) / count.sum()).cpu().numpy(),
            noise=noise_share(max(self.rounding, torch.finfo(self.dtype).eps / 2)),
        )

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

    def _set_pivots(self, features: Tensor, present: Tensor, rows: Tensor) -> None:
        """Give every class that is seen for the first time its mean over this batch as pivot."""
        fresh = self.counts[present] == 0
        if not bool(fresh.any()):
            return
        # A pivot need only be near the mean, so that single precision will do for it; from the first sample on, so that
        # equal samples have their own value as pivot.
        members = rows[None] == fresh.nonzero()
        first = features[members.int().argmax(1)].to(self.pivot.dtype)
        own = fresh[rows]
        share = members[:, own].double() / members.sum(1, keepdim=True)
        for block, _, apart in residuals(features[own], first, (fresh.cumsum(0) - 1)[rows[own]]):
            first[:, block] += (share @ apart).to(first.dtype)
        self.pivot[present[fresh]] = first

    def _move_pivots(self, present: Tensor) -> None:
        """Move the pivot of every class that has grown enough since the last move to its mean."""
        due = present[self.counts[present] >= _GROWTH * self.settled[present]]
        due = due[self.settled[due] < _SETTLED]
        if not len(due):
            return
        self.settled[due] = self.counts[due]
        count = self.counts[due].double()[:, None]
        before = self.total[due] if self.scatter is not None else None
        shifts: list[Tensor] = []
        for block in columns(self.total):
            total, old = self.total[due, block], self.pivot[due, block]
            new = (old + total / count).to(old.dtype)
            shift = new.double() - old.double()
            self.pivot[due, block] = new
            moved = shift * (count * shift - 2 * total)
            self.square[due] += moved.sum(1)
            self.spread[block] += moved.sum(0)
            self.total[due, block] = total - count * shift
            if before is not None:
                shifts.append(shift)
        if self.scatter is not None and before is not None:
            shift = torch.cat(shifts, dim=1)
            cross = shift.T @ before
            self.scatter += shift.T @ (count * shift) - cross - cross.T
