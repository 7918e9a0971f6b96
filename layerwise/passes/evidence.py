"""The type of the evidence: what metrics of one target and layer are computed from."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from layerwise.metrics import Convention
from layerwise.network.graph.map_weights import Weights
from layerwise.statistics import Complexity, Moments, NearestCenters, Readout, Span, TargetMoments
from layerwise.theory.frames import Frame

__all__ = ["Evidence"]


class Evidence(TypedDict, total=False):
    """Statistics and conventions of one target and layer, under the names of `layerwise.metrics.EVIDENCE`.

    The passes put in the statistics that they finish; `layerwise.evaluation` adds the rest. None where there is no
    value.
    """

    convention: Convention
    frame: Frame | None
    classifier: np.ndarray | None
    next_map: np.ndarray | None
    head: np.ndarray | None
    weights: Weights | None
    moments: Moments
    sizes: np.ndarray | None
    regression: TargetMoments | None
    readout: Readout | None
    complexity: Complexity
    covariance: Moments
    span: Span
    nearest: NearestCenters
    probe: float
