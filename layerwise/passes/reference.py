"""What judges the samples of a split: the class means and the probe of the training split."""

from __future__ import annotations

from dataclasses import replace

import torch

from layerwise.features.sketch import Sketch
from layerwise.passes.request import PassRequest
from layerwise.passes.result import Key, Reference, SplitResult
from layerwise.passes.spans import Span
from layerwise.statistics import Centers, fit_ridge

__all__ = ["reference_of"]


def reference_of(
    result: SplitResult, key: Key, centers: Centers, narrowing: Span | Sketch | None, request: PassRequest
) -> Reference:
    """Return the class means of a target and layer, with the probe fitted to them where a metric needs one.

    Parameters
    ----------
    result : SplitResult
        The training split, whose evidence has the covariance.
    key : tuple of str
        The target and the layer.
    centers : Centers
        Its class means.
    narrowing : Span or Sketch, optional
        What the covariance is taken through.
    request : PassRequest
    """
    if "probe" not in request.needs:
        return Reference(centers, None)
    moments = result.evidence[key]["moments"]
    probe = fit_ridge(result.covariance(key), request.settings.ridge)
    if narrowing is not None:
        weight = narrowing.lift(torch.from_numpy(probe.weight)).numpy()
        probe = replace(probe, weight=weight, mean=moments.shares @ moments.means)
    # The weights lie below the basis, and only there.
    centers = centers.beside(torch.from_numpy(probe.weight))
    return Reference(centers, replace(probe, weight=centers.frame[len(centers.basis) :].T.cpu().numpy()))
