"""Mixtures of isotropic Gaussians, a class each."""

from __future__ import annotations

import torch

from layerwise.studies.data.pictures import Splits

__all__ = ["gaussian_mixture"]


def gaussian_mixture(
    classes: int,
    samples: int,
    features: int,
    variance: float = 1.0,
    *,
    apart: float = 2.0,
    seed: int | torch.Generator = 0,
) -> Splits:
    """Classes with exactly their mean and covariance: what is linear in these has no sampling error.

    Parameters
    ----------
    classes, samples, features : int
        K classes of n samples each, ``n > d``.
    variance : float
        Of each class along every axis.
    apart : float
        Standard deviation of the means along every axis.
    seed : int or Generator

    Returns
    -------
    dict of str to (Tensor, Tensor)
        The split ``train``: inputs ``(K n, d)``, float64, sorted by class, and labels ``(K n,)``.

    Examples
    --------
    >>> inputs, labels = gaussian_mixture(3, 50, 4, variance=0.5)["train"]
    >>> inputs[labels == 1].var(0, correction=0).round(decimals=6)
    tensor([0.5000, 0.5000, 0.5000, 0.5000], dtype=torch.float64)
    """
    draw = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    noise = torch.randn(classes, samples, features, generator=draw, dtype=torch.float64)
    noise = noise - noise.mean(1, keepdim=True)
    covariance = noise.mT @ noise / samples
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance).mT, noise, upper=True, left=False)
    means = apart * torch.randn(classes, 1, features, generator=draw, dtype=torch.float64)
    inputs = (means + variance**0.5 * white).reshape(-1, features)
    return {"train": (inputs, torch.arange(classes).repeat_interleave(samples))}
