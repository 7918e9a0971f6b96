"""Exact coordinates of wide features of few samples, in the span of the samples.

``N`` samples span no more than ``N`` directions. Their inner products determine an orthonormal basis of that span. In
this basis, covariances, fits and distances equal those of all features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from layerwise.statistics.residuals import columns
from layerwise.statistics.rounding import noise_edge

__all__ = ["Isometry", "isometry_of"]

_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Isometry:
    """Coordinates of samples in an orthonormal basis of their span; ``n`` samples, ``d`` features, ``r`` directions.

    Attributes
    ----------
    coordinates : Tensor
        Coordinates of the samples, shape ``(n, r + 1)``; the last is the part of their mean outside of the directions
        in which they vary.
    lifting : Tensor
        Weights with which sums of the samples are the basis, shape ``(n, r)``.
    kept : Tensor of bool
        Samples that count, shape ``(n,)``.
    mean : Tensor
        Mean of the samples that count, shape ``(d,)``.
    squares : float
        Mean square of a coordinate's rounding, in units of the layer's (`layerwise.statistics.Moments.squares`).
    """

    coordinates: Tensor
    lifting: Tensor
    kept: Tensor
    mean: Tensor
    squares: float

    def lift(self, weights: Tensor, features: Tensor) -> Tensor:
        """Convert the weights of a linear map of the coordinates to those of a map of the features.

        Parameters
        ----------
        weights : Tensor
            Shape ``(r + 1, c)``.
        features : Tensor
            The samples, shape ``(n, d)``.

        Returns
        -------
        Tensor
            Shape ``(d, c)``.
        """
        combined = self.lifting @ weights[:-1].to(self.lifting)
        lifted = combined.new_empty(features.shape[1], weights.shape[1])
        for block in columns(features):
            lifted[block] = self._counted(features[:, block]).T @ combined
        return lifted

    def lower(self, weights: Tensor, features: Tensor) -> Tensor:
        """Convert the weights of a linear map of the features to those of a map of the coordinates.

        Parameters
        ----------
        weights : Tensor
            Shape ``(d, c)``.
        features : Tensor
            The samples, shape ``(n, d)``.

        Returns
        -------
        Tensor
            Shape ``(r + 1, c)``; zero for the last coordinate, in which the samples do not vary.
        """
        products = self.lifting.new_zeros(len(features), weights.shape[1])
        for block in columns(features):
            products += self._counted(features[:, block]) @ weights[block].to(products)
        lowered = self.lifting.T @ products
        return torch.cat([lowered, lowered.new_zeros(1, weights.shape[1])])

    def _counted(self, values: Tensor) -> Tensor:
        """Return values in double precision, zero for samples that do not count, which may be NaN."""
        return torch.where(self.kept[:, None], values.double(), 0.0)


def isometry_of(features: Tensor, kept: Tensor | None = None) -> Isometry:
    """Compute coordinates of samples from their inner products.

    Parameters
    ----------
    features : Tensor
        Shape ``(n, d)``.
    kept : Tensor, optional
        Samples that count, shape ``(n,)``; the others have the coordinates of the mean.
    """
    count, width = features.shape
    rows = torch.ones(count, dtype=torch.bool, device=features.device) if kept is None else kept.to(features.device)
    number = max(int(rows.sum()), 1)
    products = torch.zeros(count, count, dtype=torch.float64, device=features.device)
    towards_mean = torch.zeros(count, dtype=torch.float64, device=features.device)
    length = squares = 0.0
    means = []
    for block in columns(features):
        values = torch.where(rows[:, None], features[:, block].double(), 0.0)
        mean = values.sum(0) / number
        squares += float(values.square().sum()) / number
        length += float(mean.square().sum())
        means.append(mean)
        values = torch.where(rows[:, None], values - mean, 0.0)
        products.addmm_(values, values.T)
        towards_mean += values @ mean
    variances, axes = torch.linalg.eigh(products)
    filled = variances > count * _EPS * variances[-1].clamp_min(0.0)
    lifting = axes[:, filled] / variances[filled].sqrt()
    # Rounding mixes eigenvectors of small variance with the constant one, which stands for the mean of the features.
    lifting = torch.where(rows[:, None], lifting - lifting.sum(0) / number, 0.0)
    along = towards_mean @ lifting
    outside = torch.full((count, 1), max(length - float(along.square().sum()), 0.0) ** 0.5, dtype=torch.float64)
    # From the same basis that lifts weights, so that both agree whatever the rounding of eigenvectors.
    coordinates = torch.cat([products @ lifting + along, outside.to(axes)], dim=1)
    # Rounding is in all features; the rounding of these samples lies in their span.
    edge = noise_edge(width, number) / noise_edge(coordinates.shape[1], number)
    return Isometry(coordinates, lifting, rows, torch.cat(means), squares / width * edge)
