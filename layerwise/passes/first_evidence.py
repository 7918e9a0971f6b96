"""From the moments of one target and layer to evidence: what pass 1 of one measurement finishes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from layerwise.passes.result import Key, SplitResult
from layerwise.passes.spans import Span
from layerwise.statistics import ClassMoments, TargetMoments, fit_readout

__all__ = ["finish_classes", "finish_regression"]


def finish_classes(
    key: Key,
    moments: ClassMoments,
    narrow: ClassMoments | None,
    spanned: tuple[float, int] | None,
    result: SplitResult,
) -> None:
    """Put the moments of a target with classes into the evidence, if any sample of the layer was finite.

    Parameters
    ----------
    key : tuple of str
        The target and the layer.
    moments, narrow : ClassMoments
        Those of the features, and of what the covariance is taken of where that is something else.
    spanned : tuple, optional
        For the coordinates of a wide layer, the mean square that judges their rounding, and the layer's width.
    result : SplitResult
    """
    if not len(moments.counts):
        return
    finished = moments.finish()
    result.present[key[0]] = len(finished.classes)
    ids = np.delete(result.ids[key[0]], finished.classes)
    result.absent[key[0]] = sorted(ids.tolist())
    covariance = narrow.finish() if narrow is not None else finished
    if spanned is not None:
        squares, width = spanned
        covariance = replace(covariance, squares=np.full_like(covariance.squares, squares), width=width)
    result.evidence[key] = {"moments": finished}
    if covariance.within is not None or key in result.totals:
        result.evidence[key]["covariance"] = covariance


def finish_regression(
    key: Key,
    moments: TargetMoments,
    spanned: tuple[float, int] | None,
    span: Span | None,
    result: SplitResult,
    train: SplitResult,
    *,
    standardize: bool,
) -> None:
    """Put the moments of a regression target into the evidence, in the units of the training split.

    Parameters
    ----------
    key, spanned, result
        As for `finish_classes`.
    moments : TargetMoments
    span : Span, optional
        The isometry of a wide layer of few samples.
    train : SplitResult
        The split whose readout and units judge; `result` itself for the training split.
    standardize : bool
        Whether the units are the standard deviations of the target.
    """
    if spanned is not None:
        square, width = spanned
        moments = replace(moments, square=square, width=width)
    readout = None
    if train is result:
        spread = np.sqrt(np.diag(moments.target_covariance))
        units = np.where(spread > 0, spread, 1.0) if standardize else np.ones(len(spread))
        result.units.setdefault(key[0], units)
        moments = moments.in_units(result.units[key[0]])
        readout = fit_readout(moments)
        result.readouts[key] = readout if span is None else span.lifted(readout)
    elif key in train.readouts:
        moments, readout = moments.in_units(train.units[key[0]]), train.readouts[key]
        readout = readout if span is None else span.lowered(readout, moments)
    result.evidence[key] = {"regression": moments, "readout": readout}
