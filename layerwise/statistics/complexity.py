"""Squared derivatives of features with respect to the input, averaged by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.statistics.pairing import check_paired

__all__ = ["Complexity", "ComplexitySums"]


@dataclass(frozen=True)
class Complexity:
    """Geometric complexity of one layer.

    Attributes
    ----------
    mean : float
        Mean over the samples of ``||dh_i/dx_i||_F^2``.
    error : float
        Standard error of the mean due to random directions; it does not include that of the samples.
    by_class : ndarray
        The mean over the samples of every class, shape ``(C,)``; NaN for a class without samples.
    """

    mean: float
    error: float
    by_class: np.ndarray


class ComplexitySums:
    """Sums squared derivatives of samples, and their squared standard errors, by class."""

    accumulated: ClassVar[tuple[str, ...]] = ("counts", "sums", "errors")

    def __init__(self, classes: int, device: torch.device | str = "cpu") -> None:
        self.counts = torch.zeros(classes, dtype=torch.float64, device=device)
        self.sums = torch.zeros_like(self.counts)
        self.errors = torch.zeros_like(self.counts)

    def update(self, squares: Tensor, errors: Tensor, labels: Tensor) -> None:
        """Add a batch: ``||dh_i/dx_i||_F^2``, the squared standard errors, and the labels, shape ``(n,)`` each."""
        check_paired(squares, labels)
        self.counts.index_add_(0, labels, torch.ones_like(squares))
        self.sums.index_add_(0, labels, squares)
        self.errors.index_add_(0, labels, errors)

    def merge(self, other: ComplexitySums) -> None:
        """Add the sums of another worker over other samples."""
        self.counts += other.counts
        self.sums += other.sums
        self.errors += other.errors

    def finish(self) -> Complexity:
        """Return the averages."""
        counts, sums = self.counts.cpu().numpy(), self.sums.cpu().numpy()
        samples = counts.sum()
        with np.errstate(invalid="ignore"):
            by_class = sums / counts
            error = np.sqrt(float(self.errors.sum())) / samples
            return Complexity(float(sums.sum() / samples), float(error), by_class)
