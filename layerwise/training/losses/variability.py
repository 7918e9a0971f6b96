"""The distance of samples from the mean of their class in the batch, as a loss."""

from __future__ import annotations

import torch
from torch import Tensor

from layerwise.errors import InvalidLabels

__all__ = ["within_class_variability"]


def within_class_variability(features: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared distance of samples from their class mean in the batch, averaged over classes.

    ``1/K sum_c mean_{i in c} ||x_i - mean_c||^2``, over the ``K`` classes of at least two samples, since one sample has
    no variability. In ``[0, inf)``; 0 at collapse, and if every class has one sample. Gradients flow through the
    samples and through the means. Half precision is summed in single precision.

    Parameters
    ----------
    features : Tensor
        Shape ``(n, d)``.
    labels : Tensor
        Integers of any range, shape ``(n,)``.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    InvalidLabels
        If labels are no integers, or not as many as samples.

    References
    ----------
    Ben-Shaul & Dekel 2022, Nearest class-center simplification through intermediate layers, arXiv:2201.08924.

    Examples
    --------
    >>> within_class_variability(torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]))
    tensor(1.)
    """
    if labels.is_floating_point() or labels.shape != features.shape[:1]:
        raise InvalidLabels(
            f"labels have shape {tuple(labels.shape)} and type {labels.dtype}; "
            f"an integer for each of {len(features)} samples is needed"
        )
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    classes, rows = labels.to(features.device).unique(return_inverse=True)
    counts = rows.bincount(minlength=len(classes)).to(features.dtype)
    # Autocast would compute a product with the labels' indicators in half precision.
    sums = features.new_zeros(len(classes), features.shape[1]).index_add(0, rows, features)
    distances = (features - (sums / counts[:, None])[rows]).square().sum(1)
    variability: Tensor = (distances / counts[rows]).sum() / (counts > 1).sum().clamp(min=1)
    return variability
