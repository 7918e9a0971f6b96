"""How many directions the features of a layer fill."""

from __future__ import annotations

from functools import partial

import numpy as np

from layerwise.metrics.registry import metric
from layerwise.metrics.sizes import Sizes, of_eigh
from layerwise.statistics.moments import Moments

__all__ = ["effective_rank", "feature_norm", "numerical_rank", "participation_ratio", "stable_rank"]

_DIMS = ("epoch", "split", "layer")


def _workspace_of_spectrum(sizes: Sizes) -> int:
    return of_eigh(sizes.covariance) + 2 * sizes.classes * sizes.covariance


_rank = partial(metric, direction="down", dims=_DIMS, least_classes=1)


@metric("mean feature norm", direction="none", units="feature", dims=_DIMS, least_classes=1)
def feature_norm(moments: Moments) -> float:
    """Mean norm of the features, ``mean ||h_i||``.

    Returns
    -------
    float
        In ``[0, inf)``; neither direction is collapse.
    """
    return moments.norm


@metric(
    "stable rank of the features",
    direction="down",
    dims=_DIMS,
    least_classes=1,
    reference="Rudelson & Vershynin 2007",
    workspace=_workspace_of_spectrum,
)
def stable_rank(covariance: Moments) -> float:
    """Variance of the features in units of that of the widest direction, ``tr S / lambda_max(S)``.

    Returns
    -------
    float
        In ``[1, d]``; falls with collapse.

    References
    ----------
    Rudelson & Vershynin 2007, doi:10.1145/1255443.1255449.
    """
    values = covariance.spectrum
    return float(values.sum() / values[0])


@metric(
    "effective rank of the features",
    direction="down",
    dims=_DIMS,
    least_classes=1,
    reference="Roy & Vetterli 2007",
    workspace=_workspace_of_spectrum,
)
def effective_rank(covariance: Moments) -> float:
    """Exponential of the entropy of the normalised eigenvalues of the features' covariance.

    ``exp(-sum_k p_k log p_k)`` with ``p_k = lambda_k / tr S``.

    Returns
    -------
    float
        In ``[1, d]``; falls with collapse.

    References
    ----------
    Roy & Vetterli 2007, https://www.eurasip.org/Proceedings/Eusipco/Eusipco2007/Papers/a5p-h05.pdf.
    """
    shares = covariance.spectrum / covariance.spectrum.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else np.nan


@_rank("participation ratio of the features", reference="Gao 2017", workspace=_workspace_of_spectrum)
def participation_ratio(covariance: Moments) -> float:
    """Number of directions that share the variance of the features, ``(tr S)^2 / tr(S^2)``.

    Returns
    -------
    float
        In ``[1, d]``; falls with collapse.

    References
    ----------
    Gao 2017, doi:10.1101/214262.
    """
    values = covariance.spectrum
    return float(values.sum() ** 2 / (values**2).sum())


@metric(
    "numerical rank of the features",
    direction="down",
    dims=_DIMS,
    least_classes=1,
    reference="Masarczyk 2023 (tunnel effect)",
    integer_valued=True,
    workspace=_workspace_of_spectrum,
)
def numerical_rank(covariance: Moments) -> float:
    """Number of eigenvalues of the features' covariance above a thousandth of the largest.

    Returns
    -------
    float
        In ``[0, d]``; falls with collapse.

    References
    ----------
    Masarczyk 2023, arXiv:2305.19753.
    """
    values = covariance.spectrum
    return float((values > 1e-3 * values[0]).sum())
