"""NC3 and linear readout: how features align with the network's linear maps, and how well a fitted map reads them."""

from __future__ import annotations

import numpy as np

from layerwise.metrics.between import above_rounding
from layerwise.metrics.convention import Convention
from layerwise.metrics.geometry import centered
from layerwise.metrics.registry import metric
from layerwise.metrics.sizes import Sizes, of_svd
from layerwise.network.graph.map_weights import Weights
from layerwise.statistics.moments import Moments

__all__ = ["probe_error", "self_duality", "weight_alignment"]


@metric("distance of classifier from class means", direction="down", reference="Papyan 2020 (NC3)")
def self_duality(moments: Moments, classifier: np.ndarray, convention: Convention) -> float:
    """Squared distance of the classifier from the class means, ``|| W^T/||W||_F - M/||M||_F ||_F^2``.

    Returns
    -------
    float
        In ``[0, 4]``; 0 at collapse, where each row of the classifier points along its class mean. NaN where the layer
        does not feed the network's own classifier for the target.

    References
    ----------
    Papyan 2020, doi:10.1073/pnas.2015509117.
    """
    weight, means = classifier[moments.classes], centered(moments, convention)
    return float(((weight / np.linalg.norm(weight) - means / np.linalg.norm(means)) ** 2).sum())


def _workspace_of_alignment(sizes: Sizes) -> int:
    return of_svd(sizes.classes, sizes.features) + min(sizes.classes, sizes.features) ** 2


@metric(
    "alignment of class means with the next linear map",
    direction="up",
    reference="Rangamani 2023 (NC3)",
    workspace=_workspace_of_alignment,
)
def weight_alignment(moments: Moments, weights: Weights) -> float:
    """Mean cosine of the principal angles between the class means and the directions that the next map reads best.

    The angles are those between the span of the ``m_c`` and the top right-singular subspace, of the same dimension, of
    the linear map that the layer feeds.

    Returns
    -------
    float
        In ``[0, 1]``; 1 at collapse. NaN where the layer feeds no linear map.

    References
    ----------
    Rangamani 2023, https://proceedings.mlr.press/v202/rangamani23a.html.
    """
    count = len(moments.classes)
    _, spread, spanned = np.linalg.svd(moments.centered / np.sqrt(count), full_matrices=False)
    spanned = spanned[above_rounding(spread, spanned, moments, np.full(count, 1 / count))]
    _, read = weights.decomposition
    kept = min(len(spanned), len(read))
    if not kept:
        return np.nan
    return float(np.linalg.svd(spanned[:kept] @ read[:kept].T, compute_uv=False).clip(max=1.0).mean())


@metric(
    "error of the ridge classifier", direction="down", reference="Alain & Bengio 2016 (linear probe)", fitted="always"
)
def probe_error(probe: float) -> float:
    """Share of samples that the ridge classifier on one-hot targets, fitted on the training split, gets wrong.

    The fit has a closed form (`layerwise.statistics.fit_ridge`); its regularisation is an attribute of the Dataset.

    Returns
    -------
    float
        In ``[0, 1]``; 0 at collapse.

    References
    ----------
    Alain & Bengio 2016, arXiv:1610.01644.
    """
    return probe
