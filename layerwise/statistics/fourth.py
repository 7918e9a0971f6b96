"""The fourth moment of the distance from the mean, from which the error of a covariance follows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.statistics.moments import Moments
from layerwise.statistics.residuals import seen_from

__all__ = ["FourthMoment"]


class FourthMoment:
    """Accumulates ``mean ||h - mean||^4`` about a known mean.

    Parameters
    ----------
    moments : Moments
        Moments of the same samples.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("samples", "total")

    def __init__(self, moments: Moments, device: torch.device | str = "cpu") -> None:
        # Added to the mean of the class means, so that a common offset costs no digits.
        shift = moments.shares @ moments.centered
        self.mean = torch.from_numpy(np.asarray(moments.means.mean(0) + shift)).to(device)
        self.samples = 0
        self.total = torch.zeros((), dtype=torch.float64, device=device)

    def update(self, features: Tensor) -> None:
        """Add a batch, features ``(n, d)``."""
        squares = torch.zeros(len(features), dtype=torch.float64, device=features.device)
        for _, residual in seen_from(features, self.mean):
            squares += residual.square().sum(1)
        self.total += squares.square().sum()
        self.samples += len(features)

    def merge(self, other: FourthMoment) -> None:
        """Add the sums of another worker over other samples, about the same mean."""
        self.total += other.total
        self.samples += other.samples

    def finish(self) -> float:
        """Return ``mean ||h - mean||^4``."""
        return float(self.total) / self.samples
