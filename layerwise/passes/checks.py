"""Checks of a batch: labels within the classes, targets and features without NaN."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidLabels, NonFiniteFeatures
from layerwise.features.read_features import reading_features
from layerwise.features.reading import LayerReading
from layerwise.network.network import Network
from layerwise.passes.request import PassRequest

__all__ = ["checked_labels", "checked_targets", "finite_rows", "where_not_finite"]


def checked_labels(labels: Tensor, target: str, classes: Mapping[str, int]) -> Tensor:
    """Return labels as integers within the classes, shape ``(n,)``, also from ``(n, 1)`` and one-hot labels.

    Raises
    ------
    InvalidLabels
        Naming the target and the first label outside the classes.
    """
    labels = _as_vector(labels, target)
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise InvalidLabels(
            f"labels of {target!r} must be integers of shape (n,); "
            f"they are {labels.dtype} of shape {tuple(labels.shape)}; regression targets are of floating type, and a "
            "label for every token or pixel is read by reduce='tokens' or 'pixels'"
        )
    labels = labels.long()
    low, high = int(labels.min()), int(labels.max())
    known = classes.get(target)
    if low < 0:
        within = f"0 .. {known - 1}" if known is not None else "0 and above"
        raise InvalidLabels(
            f"label {low} of {target!r} is outside the classes, {within}: a label below 0 mostly stands for none. "
            "Leave such samples out, or give the classes ids of 0 and above"
        )
    if known is not None and high >= known:
        raise InvalidLabels(
            f"label {high} of {target!r} is outside the classes, 0 .. {known - 1}; where no classes are declared, the "
            "ids that occur are the classes"
        )
    return labels


def one_hot_classes(labels: Tensor) -> int | None:
    """Return the number of classes of one-hot labels, shape ``(n, C)``; None for any other labels."""
    return labels.shape[1] if _is_matrix(labels) and _has_one_each(labels) else None


def _is_matrix(labels: Tensor) -> bool:
    return labels.ndim == 2 and labels.shape[1] > 1


def _has_one_each(labels: Tensor) -> bool:
    """Whether every row is 0 but for a single 1."""
    return bool((((labels == 0) | (labels == 1)).all()) & ((labels == 1).sum(1) == 1).all())


def _as_vector(labels: Tensor, target: str) -> Tensor:
    """Labels of shape ``(n, 1)``, or one-hot ``(n, C)``, as ``(n,)``.

    Raises
    ------
    InvalidLabels
        If several classes, or none, are marked for a sample.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.ndim != 2:
        return labels
    if labels.shape[1] == 1:
        return labels[:, 0]
    if one_hot_classes(labels) is not None:
        return labels.long().argmax(1)
    if bool(((labels == 0) | (labels == 1)).all()):
        raise InvalidLabels(
            f"labels of {target!r} must be integers of shape (n,) or one-hot; they have shape {tuple(labels.shape)} "
            "with several ones in a row, or none, as multi-label data has: every column is a target of its own, so "
            "give them as a mapping, {name: column}"
        )
    return labels


def checked_targets(values: Tensor, target: str, request: PassRequest, number: int) -> tuple[Tensor, Tensor | None]:
    """Return regression targets, shape ``(n, q)``, and the samples that have one, shape ``(n,)``; None where all have.

    Raises
    ------
    InvalidLabels
        Naming the target and the batch, and the share of its samples without a target.
    """
    dimensions = request.dimensions[target]
    if not values.is_floating_point() or values.ndim not in (1, 2) or values[:1].numel() != dimensions:
        shape = "(n,)" if dimensions == 1 else f"(n, {dimensions})"
        raise InvalidLabels(
            f"regression target {target!r} must be of floating type and shape {shape}, as in the first batch; "
            f"in batch {number} it is {values.dtype} of shape {tuple(values.shape)}"
        )
    values = values.reshape(len(values), -1)
    present = torch.isfinite(values).all(1)
    if bool(present.all()):
        return values, None
    if request.settings.nonfinite == "raise":
        share = 1 - float(present.float().mean())
        raise InvalidLabels(
            f"regression target {target!r} has NaN or infinity in {share:.1%} of the samples of batch {number}; "
            "nonfinite='drop' leaves such samples out and counts them"
        )
    return values, present


def finite_rows(features: Tensor, nonfinite: str) -> Tensor | None:
    """Return the samples to keep, shape ``(n,)``; None to keep all."""
    if nonfinite == "raise":
        return None
    kept = torch.isfinite(features).all(1)
    return None if bool(kept.all()) else kept


def where_not_finite(request: PassRequest, network: Network, batch: Batch, number: int) -> NonFiniteFeatures:
    """Run a batch again; return an error that names the first layer that is not finite, and the share of samples."""
    shares: dict[str, float] = {}

    def receive(reading: LayerReading, features: Tensor) -> None:
        shares[reading.name] = 1 - float(torch.isfinite(features).all(-1).double().mean())

    with reading_features(network, request.readings, receive) as run:
        run(batch)
    for layer, share in shares.items():
        if share > 0:
            return NonFiniteFeatures(
                f"layer {layer!r} has NaN or infinity in {share:.1%} of the samples of batch {number}; "
                "nonfinite='drop' leaves such samples out and counts them"
            )
    return NonFiniteFeatures(f"the features of batch {number} are finite but too large to be summed")
