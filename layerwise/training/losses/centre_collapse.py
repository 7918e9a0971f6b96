"""Cross entropy of the mean feature of each class, against a classifier fixed to an ETF."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from layerwise.errors import InvalidLabels

__all__ = ["centre_collapse"]


def centre_collapse(features: Tensor, labels: Tensor, head: nn.Module, *, ignore_index: int = -100) -> Tensor:
    """Return the cross entropy of the class centres of a batch: ``mean_c CE(head(mean_{i in c} x_i), c)``.

    Every class that occurs counts once, however few positions it has, so that rare classes are drawn to their row of
    the head as the others are. In ``[0, inf)``; 0 (and no gradient) if no position has a label.

    Parameters
    ----------
    features : Tensor
        Shape ``(n, d)``, or maps ``(n, d, ...)`` with a label at each position.
    labels : Tensor
        Classes from 0, shape ``(n,)`` or ``(n, ...)``.
    head : Module
        Takes centres ``(C, d)`` to scores ``(C, K)``, such as `layerwise.heads.ETFClassifier`.
    ignore_index : int
        The label of positions that do not count.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    InvalidLabels
        If labels are no integers, or not one for each position.

    References
    ----------
    Zhong et al. 2023, Understanding imbalanced semantic segmentation through neural collapse (arXiv:2301.01100).

    Examples
    --------
    >>> features = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 4.0]])
    >>> centre_collapse(features, torch.tensor([0, 1, 1]), nn.Identity())
    tensor(0.0878)
    """
    positions = (features.shape[0], *features.shape[2:])
    if labels.is_floating_point() or labels.shape != positions:
        raise InvalidLabels(
            f"labels have shape {tuple(labels.shape)} and type {labels.dtype}; "
            f"an integer for each position, shape {tuple(positions)}, is needed"
        )
    rows = features.movedim(1, -1).reshape(-1, features.shape[1])
    flat = labels.reshape(-1).to(features.device)
    counted = flat != ignore_index
    rows, flat = rows[counted].to(torch.promote_types(features.dtype, torch.float32)), flat[counted]
    if not len(flat):
        return rows.sum()
    classes, places = flat.unique(return_inverse=True)
    sums = rows.new_zeros(len(classes), rows.shape[1]).index_add(0, places, rows)
    counts = places.bincount(minlength=len(classes)).to(rows.dtype)
    return cross_entropy(head(sums / counts[:, None]), classes)
