"""NC4: whether the nearest class mean agrees with the label, and with the network's own prediction."""

from __future__ import annotations

import numpy as np

from layerwise.metrics.registry import metric
from layerwise.statistics.centers import NearestCenters

__all__ = ["class_ncc_error", "ncc_error", "ncc_mismatch"]


@metric("nearest class-centre error", direction="down", reference="Galanti 2022", within=True)
def ncc_error(nearest: NearestCenters) -> float:
    """Share of samples whose nearest class mean is not that of their label; class means are of the training split.

    Returns
    -------
    float
        In ``[0, 1]``; 0 at collapse.

    References
    ----------
    Galanti 2022, arXiv:2202.09028.
    """
    return float(nearest.errors.sum() / nearest.counts.sum())


@metric("nearest class-centre mismatch", direction="down", reference="Ben-Shaul & Dekel 2022; Parker 2023", within=True)
def ncc_mismatch(nearest: NearestCenters) -> float:
    """Share of samples whose nearest class mean is not that of the class that the network predicts.

    Returns
    -------
    float
        In ``[0, 1]``; 0 at collapse. NaN where the network has no classifier of its own for the target.

    References
    ----------
    Ben-Shaul & Dekel 2022, arXiv:2201.08924; Parker 2023, arXiv:2308.02760.
    """
    return np.nan if nearest.mismatches is None else float(nearest.mismatches / nearest.counts.sum())


@metric(
    "nearest class-centre error of a class",
    direction="down",
    dims=("epoch", "split", "target", "layer", "class"),
    reference="Galanti 2022",
    within=True,
)
def class_ncc_error(nearest: NearestCenters) -> np.ndarray:
    """Share of the samples of each class whose nearest class mean is that of another class.

    Returns
    -------
    ndarray
        In ``[0, 1]``, one number for each class; 0 at collapse. NaN for a class without samples.

    References
    ----------
    Galanti 2022, arXiv:2202.09028.
    """
    return np.asarray(nearest.errors / np.where(nearest.counts > 0, nearest.counts, np.nan))
