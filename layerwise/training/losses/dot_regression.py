"""Dot regression: features are pulled to their own row of a fixed classifier, and pushed from none."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dot_regression"]


def dot_regression(logits: Tensor, labels: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """Squared distance of each sample's own logit from the greatest that it can have, averaged over samples.

    ``1/(2 s) mean_i (w_{y_i} . h_i - s)^2`` with ``s = sqrt(E_W E_H)``, for rows of a fixed classifier of norm
    ``sqrt(E_W)`` and features of norm ``sqrt(E_H)`` at most, as `layerwise.training.heads.ETFClassifier` gives them. In
    ``[0, inf)``; 0 at collapse onto the classifier, whatever the imbalance of the classes. Yang et al. 2022;
    `layerwise.theory.dot_regression` is the same in NumPy.

    Parameters
    ----------
    logits : Tensor
        Shape ``(n, K)``.
    labels : Tensor
        Class indices, shape ``(n,)``.
    scale : float or Tensor
        ``s``; `ETFClassifier.scale` of the classifier that gave the logits. Of features that are taken as they are, one
        for each sample, shape ``(n,)``: the row's length times the feature's own, through which no gradient goes.

    Returns
    -------
    Tensor
        A scalar.

    Examples
    --------
    >>> import torch
    >>> dot_regression(torch.tensor([[1.0, -0.5], [-0.5, 0.0]]), torch.tensor([0, 1]))
    tensor(0.2500)
    """
    own = logits.gather(1, labels[:, None]).squeeze(1)
    scale = torch.as_tensor(scale, dtype=own.dtype, device=own.device).detach()
    return ((own - scale).square() / (2 * scale)).mean()
