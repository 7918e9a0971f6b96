"""The fourth moment of the distance from the mean, which says how well a covariance is known."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.statistics.moments import Moments
from layerwise.statistics.residuals import seen_from

__all__ = ["FourthMoment"]


class FourthMoment:
    """Accumulates ``mean ||h - mean||^4`` about a mean that is known beforehand.

    Parameters
    ----------
    moments : Moments
        Of the same samples.
    """

    accumulated: ClassVar[tuple[str, ...]] = ("samples", "total")

    def __init__(self, moments: Moments, device: torch.device | str = "cpu") -> None:
        # From the class means' own mean on, so that a common offset costs no digits.
        shift = moments.shares @ moments.centered
        self.mean = torch.from_numpy(np.asarray(moments.means.mean(0) + shift)).to(device)
        self.samples = 0
        self.total = torch.zeros((), dtype=torch.float64, device=device)

    def update(self, features: Tensor) -> None:
        """Take in a batch, features ``(n, d)``."""
        squares = torch.zeros(len(features), dtype=torch.float64, device=features.device)
        for _, residual in seen_from(features, self.mean):
            squares += residual.square().sum(1)
        self.total += squares.square().sum()
        self.samples += len(features)

    def merge(self, other: FourthMoment) -> None:
        """Take in what another worker accumulated over other samples, about the same mean."""
        self.total += other.total
        self.samples += other.samples

    def finish(self) -> float:
        """``mean ||h - mean||^4``."""
        return float(self.total) / self.samples
