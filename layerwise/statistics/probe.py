"""The ridge classifier on one-hot targets: fitted in closed form from the moments, evaluated in pass 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from layerwise.statistics.moments import Moments
from layerwise.statistics.pairing import check_paired

__all__ = ["ProbeErrors", "RidgeProbe", "fit_ridge"]


@dataclass(frozen=True)
class RidgeProbe:
    """A linear classifier ``(h - mean) W + b`` over ``k`` classes.

    Attributes
    ----------
    classes : ndarray of int
        Labels of the classes, shape ``(k,)``.
    mean : ndarray
        Mean of the training features, shape ``(d,)``.
    weight : ndarray
        Shape ``(d, k)``.
    bias : ndarray
        Shape ``(k,)``.
    """

    classes: np.ndarray
    mean: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


def fit_ridge(moments: Moments, ridge: float) -> RidgeProbe:
    """Fit the ridge classifier from the moments alone.

    It minimises ``mean ||W^T (h - mean) + b - onehot||^2 + ridge tr(S)/d ||W||^2``, with ``S`` the covariance of all
    features: ``W = (S + ridge tr(S)/d I)^{-1} cov(h, onehot)``, and ``b`` is the share of each class.

    Parameters
    ----------
    moments : Moments
        Moments with the within-class covariance.
    ridge : float
        Regularisation in units of the mean variance of a feature.
    """
    shares, covariance = moments.shares, moments.covariance
    mean = shares @ moments.means
    width = len(covariance)
    strength = ridge * max(np.trace(covariance) / moments.features, np.finfo(np.float64).tiny)
    weight = np.linalg.solve(covariance + strength * np.eye(width), (moments.means - mean).T * shares)
    return RidgeProbe(moments.classes, mean, weight, shares)


class ProbeErrors:
    """Counts the errors of a linear classifier, from its scores."""

    accumulated: ClassVar[tuple[str, ...]] = ("samples", "errors")

    def __init__(self, probe: RidgeProbe, device: torch.device | str = "cpu") -> None:
        self.classes = torch.from_numpy(probe.classes).to(device)
        self.samples = 0
        self.errors = torch.zeros((), dtype=torch.int64, device=device)

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Add a batch: scores ``(n, k)`` and labels ``(n,)``."""
        check_paired(scores, labels)
        self.errors += (self.classes[scores.argmax(1)] != labels).sum()
        self.samples += len(labels)

    def merge(self, other: ProbeErrors) -> None:
        """Add the counts of another worker over other samples."""
        self.errors += other.errors
        self.samples += other.samples

    def finish(self) -> float:
        """Return the share of samples that the classifier gets wrong."""
        return float(self.errors) / self.samples
