"""Finished class moments: counts, means and within-class scatter, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from layerwise.statistics.rounding import Range, range_of

__all__ = ["Moments"]


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
        ``mean ||h - mean h||^4``, which needs a second pass.
    width : int or None
        Number of features of the layer, if `means` are coordinates in the span of its samples; else None.
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
        # Relative to the first class, so that equal means differ by zero; differences within rounding count as zero.
        differences = self.means - self.means[0]
        differences[np.abs(differences) <= 4 * np.finfo(np.float64).eps * np.abs(self.means[0])] = 0.0
        return np.asarray(differences - differences.mean(0))

    @cached_property
    def shares(self) -> np.ndarray:
        """Share of the samples in each class, shape ``(k,)``."""
        return np.asarray(self.counts / self.counts.sum())

    def by_label(self, values: np.ndarray) -> np.ndarray:
        """Return the values of the present classes by label, NaN for labels without samples."""
        by_label = np.full(int(self.classes[-1]) + 1, np.nan)
        by_label[self.classes] = values
        return by_label

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance of all features: ``S_W`` plus the scatter of the class means by samples, shape ``(d, d)``."""
        assert self.within is not None
        means = self.centered - self.shares @ self.centered
        return np.asarray(self.within + means.T @ (self.shares[:, None] * means))

    def within_total(self, covariance: np.ndarray) -> Moments:
        """Set ``S_W`` from the covariance of all features, less the scatter of the class means."""
        means = self.centered - self.shares @ self.centered
        return replace(self, within=covariance - means.T @ (self.shares[:, None] * means))

    @cached_property
    def range(self) -> Range:
        """The directions in which the features vary by more than rounding."""
        return range_of(self.covariance, self.squares, self.noise, float(self.counts.sum()))

    @cached_property
    def within_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of ``S_W`` along `range`, ascending, clipped at zero, ``(r,)``, and eigenvectors ``(r, r)``."""
        assert self.within is not None
        along = self.range.axes
        values, axes = np.linalg.eigh(along.T @ self.within @ along)
        return values.clip(min=0.0), axes

    @cached_property
    def spectrum(self) -> np.ndarray:
        """Eigenvalues of the covariance of all features, descending, clipped at zero."""
        return np.asarray(np.linalg.eigvalsh(self.covariance)[::-1].clip(min=0.0))
