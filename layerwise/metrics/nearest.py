"""NC4: whether the nearest class mean decides as the labels, and as the network itself."""

from __future__ import annotations

import numpy as np

from layerwise.metrics.registry import metric
from layerwise.statistics.centers import NearestCenters

__all__ = ["class_ncc_error", "ncc_error", "ncc_mismatch"]


@metric("nearest class-centre error", direction="down", reference="Galanti 2022", within=True)
def ncc_error(nearest: NearestCenters) -> float:
    """Share of samples whose nearest class mean is not their label; class means are those of the training split.

    In ``[0, 1]``. Galanti, Galanti & Ben-Shaul 2022.
    """
    return float(nearest.errors.sum() / nearest.counts.sum())


@metric("nearest class-centre mismatch", direction="down", reference="Ben-Shaul & Dekel 2022; Parker 2023", within=True)
def ncc_mismatch(nearest: NearestCenters) -> float:
    """Share of samples whose nearest class mean is not the class that the network predicts.

    In ``[0, 1]``; NaN where the network has no classifier of its own for the target. Ben-Shaul & Dekel 2022.
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
    """Share of the samples of each class whose nearest class mean is another's; NaN for a class without samples."""
    return np.asarray(nearest.errors / np.where(nearest.counts > 0, nearest.counts, np.nan))
