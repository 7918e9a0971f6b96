"""Pass 1 for regression: first and second moments of features and targets, and the affine map fitted from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.statistics.moments import Moments
from layerwise.statistics.pairing import check_paired
from layerwise.statistics.rounding import Range, noise_share, range_of
from layerwise.statistics.state import restore, state_of

__all__ = ["Readout", "TargetAccumulator", "TargetMoments", "fit_readout"]

# A pivot that is the mean of this many samples is near enough to the mean of all.
_SETTLED = 64


@dataclass(frozen=True)
class TargetMoments:
    """Finished moments of one layer and one regression target; ``d`` features, ``q`` target dimensions.

    Attributes
    ----------
    count : int
        Samples.
    mean, target_mean : ndarray
        Shape ``(d,)`` and ``(q,)``.
    covariance, cross, target_covariance : ndarray
        ``cov(h, h)``, ``cov(h, t)`` and ``cov(t, t)``, divided by the count, shape ``(d, d)``, ``(d, q)`` and
        ``(q, q)``.
    directions : ndarray
        Second moment ``mean h~ h~^T`` of the normalised features ``h~ = h/||h||``, shape ``(d, d)``; features that are
        zero count as zero.
    norm : float
        ``mean ||h||``.
    unit : ndarray
        Divisor of the targets, shape ``(q,)``: ones, unless they are standardised.
    noise : float
        Variance that rounding gives a feature, in units of its mean square (`layerwise.statistics.rounding`).
    square : float or None
        That mean square, if the features are coordinates in the span of the samples of a wide layer.
    width : int or None
        Number of features of that layer.
    """

    count: int
    mean: np.ndarray
    target_mean: np.ndarray
    covariance: np.ndarray
    cross: np.ndarray
    target_covariance: np.ndarray
    directions: np.ndarray
    norm: float
    unit: np.ndarray
    noise: float
    square: float | None = None
    width: int | None = None

    @cached_property
    def principal(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances, descending and clipped at zero, shape ``(d,)``, and their directions, as rows."""
        values, vectors = np.linalg.eigh(self.covariance)
        return values[::-1].clip(min=0.0), vectors.T[::-1]

    @cached_property
    def target_spectrum(self) -> np.ndarray:
        """Eigenvalues of the target covariance, descending, clipped at zero, shape ``(q,)``."""
        return np.asarray(np.linalg.eigvalsh(self.target_covariance)[::-1].clip(min=0.0))

    @cached_property
    def as_one_class(self) -> Moments:
        """The moments of the features as a single class, for metrics that need no target."""
        return Moments(
            classes=np.zeros(1, dtype=np.int64),
            counts=np.array([float(self.count)]),
            means=self.mean[None],
            variances=np.array([np.trace(self.covariance)]),
            norm=self.norm,
            within=self.covariance,
            squares=self.squares,
            noise=self.noise,
            width=self.width,
        )

    @property
    def squares(self) -> np.ndarray:
        """``mean h_j^2`` of every feature, shape ``(d,)``."""
        if self.square is not None:
            return np.full(len(self.mean), self.square)
        return np.asarray(np.diag(self.covariance).clip(min=0.0) + self.mean**2)

    @cached_property
    def range(self) -> Range:
        """The directions in which the features vary by more than rounding."""
        return range_of(self.covariance, self.squares, self.noise, float(self.count))

    def in_units(self, unit: np.ndarray) -> TargetMoments:
        """Divide every target dimension by its unit, shape ``(q,)``."""
        return self.with_targets(
            target_mean=self.target_mean / unit,
            cross=self.cross / unit,
            target_covariance=self.target_covariance / np.outer(unit, unit),
            unit=self.unit * unit,
        )

    def with_targets(self, **changes: np.ndarray) -> TargetMoments:
        """Replace what depends on the targets; decompositions of the features alone are kept."""
        changed = replace(self, **changes)  # type: ignore[arg-type]
        for name in ("principal", "range"):
            if name in self.__dict__:
                changed.__dict__[name] = self.__dict__[name]
        return changed


class TargetAccumulator:
    """Accumulates the moments of one layer's features and one regression target over batches.

    Residuals of features and targets from a pivot near their mean are summed in float64, so that an offset costs no
    digits. The pivot is the mean of the first batch; it moves to the mean of all samples whenever their number has
    doubled, so that early outliers do no harm. ``merge`` is exact up to rounding, in any order.

    Parameters
    ----------
    features : bool
        Whether to keep sums of the features alone; if not, `finish` needs other moments of the same features.
    rounding : float
        Relative rounding of the coarsest arithmetic that made the features, if it is coarser than their type.
    """

    accumulated: ClassVar[tuple[str, ...]] = (
        *("count", "settled", "dtype", "width", "pivot", "total", "scatter", "directions", "norm"),
    )

    def __init__(self, *, features: bool = True, rounding: float = 0.0) -> None:
        self.keeps_features = features
        self.rounding = rounding
        self.count = 0
        self.width = 0
        self.settled = 0
        self.dtype: torch.dtype
        self.pivot: Tensor
        self.total: Tensor
        self.scatter: Tensor
        self.directions: Tensor
        self.norm: Tensor

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Add a batch: features of shape ``(n, d)`` and targets of shape ``(n, q)`` on the same device."""
        check_paired(features, targets)
        if not len(targets):
            return
        precise = features.double()
        rows = torch.cat([precise, targets.double()], dim=1)
        if not self.count:
            self._allocate(features, rows)
        self.count += len(rows)
        residual = rows.sub_(self.pivot)
        self.total += residual.sum(0)
        self.scatter.addmm_(residual.T, residual[:, self._start :])
        if self.keeps_features:
            norms = torch.linalg.vector_norm(precise, dim=1, keepdim=True)
            self.norm += norms.sum()
            unit = precise / torch.where(norms == 0, 1.0, norms)
            self.directions.addmm_(unit.T, unit)
        if self.count >= 2 * self.settled and self.settled < _SETTLED:
            self.settled = self.count
            self._move(self.pivot + self.total / self.count)

    def merge(self, other: TargetAccumulator) -> None:
        """Add the sums of another worker over other samples."""
        if not other.count:
            return
        if not self.count:
            restore(self, state_of(other), other.pivot.device)
            return
        moved = restore(TargetAccumulator(features=self.keeps_features), state_of(other), self.pivot.device)
        moved._move(self.pivot)
        self.count += moved.count
        self.settled = max(self.settled, moved.settled)
        for name in ("total", "scatter", "directions", "norm"):
            getattr(self, name).add_(getattr(moved, name))

    def finish(self, whole: TargetMoments | None = None) -> TargetMoments:
        """Return the moments of all samples.

        Parameters
        ----------
        whole : TargetMoments, optional
            Moments of the same features, needed if sums of the features were not kept.
        """
        width, residual = self.width, self.total / self.count
        scatter = self.scatter / self.count - torch.outer(residual, residual[self._start :])
        mean = (self.pivot + residual).cpu().numpy()
        unit = np.ones(len(mean) - width)
        # The last columns are those of the targets, with or without columns of the features.
        cross, of_targets = scatter[:width, -len(unit) :], scatter[width:, -len(unit) :]
        if whole is not None:
            return whole.with_targets(
                target_mean=mean[width:],
                cross=cross.cpu().numpy(),
                target_covariance=((of_targets + of_targets.T) / 2).cpu().numpy(),
                unit=unit,
            )
        covariance = ((scatter + scatter.T) / 2).cpu().numpy()
        return TargetMoments(
            count=self.count,
            mean=mean[:width],
            target_mean=mean[width:],
            covariance=covariance[:width, :width],
            cross=covariance[:width, width:],
            target_covariance=covariance[width:, width:],
            directions=(self.directions / self.count).cpu().numpy(),
            norm=float(self.norm / self.count),
            unit=unit,
            noise=noise_share(max(self.rounding, torch.finfo(self.dtype).eps / 2)),
        )

    @property
    def _start(self) -> int:
        """The first column of the scatter, among those of features and then of targets."""
        return 0 if self.keeps_features else self.width

    def _allocate(self, features: Tensor, rows: Tensor) -> None:
        """Allocate the sums for the width of the first batch, whose mean is the pivot."""
        self.dtype = features.dtype
        self.width = features.shape[1]
        # Residuals are taken from the first sample, so that equal samples have their own value as pivot.
        self.pivot = rows[0] + (rows - rows[0]).mean(0)
        self.total = torch.zeros_like(self.pivot)
        self.scatter = self.pivot.new_zeros(len(self.pivot), len(self.pivot) - self._start)
        kept = self.width if self.keeps_features else 0
        self.directions = self.pivot.new_zeros(kept, kept)
        self.norm = self.pivot.new_zeros(())

    def _move(self, pivot: Tensor) -> None:
        """Convert the sums to another pivot."""
        shift, start = self.pivot - pivot, self._start
        self.scatter += torch.outer(shift, self.total[start:]) + torch.outer(self.total, shift[start:])
        self.scatter += self.count * torch.outer(shift, shift[start:])
        self.total += self.count * shift
        self.pivot = pivot


@dataclass(frozen=True)
class Readout:
    """The best affine map from features to targets, ``(h - mean) W + b``.

    Attributes
    ----------
    mean : ndarray
        Mean of the features of the fit, shape ``(d,)``.
    weight : ndarray
        Shape ``(d, q)``.
    bias : ndarray
        Shape ``(q,)``.
    """

    mean: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def errors(self, moments: TargetMoments) -> np.ndarray:
        """Return the mean squared error of every target dimension over the samples of the moments, shape ``(q,)``."""
        explained = self.weight.T @ (moments.covariance @ self.weight - 2 * moments.cross)
        shift = moments.target_mean - self.bias - (moments.mean - self.mean) @ self.weight
        return np.asarray((np.diag(moments.target_covariance + explained) + shift**2).clip(min=0.0))


def fit_readout(moments: TargetMoments) -> Readout:
    """Fit the affine map of least mean squared error from the moments alone.

    There is no regularisation; only directions in which the features vary by more than rounding are used.
    """
    axes = moments.range.whitening
    return Readout(moments.mean, axes @ (axes.T @ moments.cross), moments.target_mean)
