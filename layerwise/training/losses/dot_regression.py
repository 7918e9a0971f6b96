"""Dot regression: features are pulled towards the row of their class in a fixed classifier, and pushed from none."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dot_regression"]


def dot_regression(logits: Tensor, labels: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """Return the squared distance of the true class's logit from its greatest value, averaged over samples.

    ``1/(2 s) mean_i (w_{y_i} . h_i - s)^2`` with ``s = sqrt(E_W E_H)``, for rows of a fixed classifier of norm
    ``sqrt(E_W)`` and features of norm ``sqrt(E_H)`` at most, as in `layerwise.heads.ETFClassifier`. In ``[0, inf)``; 0
    at collapse onto the classifier, whatever the imbalance of the classes. `layerwise.theory.dot_regression` is the
    same in NumPy.

    Parameters
    ----------
    logits : Tensor
        Shape ``(n, K)``.
    labels : Tensor
        Class indices, shape ``(n,)``.
    scale : float or Tensor
        ``s``, `ETFClassifier.scale` of the classifier. For features that are not scaled, one for each sample, shape
        ``(n,)``: the length of the row times that of the feature. No gradient flows through it.

    Returns
    -------
    Tensor
        A scalar.

    References
    ----------
    Yang et al. 2022, Inducing neural collapse in imbalanced learning, arXiv:2203.09081.

    Examples
    --------
    >>> import torch
    >>> dot_regression(torch.tensor([[1.0, -0.5], [-0.5, 0.0]]), torch.tensor([0, 1]))
    tensor(0.2500)
    """
    true_logits = logits.gather(1, labels[:, None]).squeeze(1)
    scale = torch.as_tensor(scale, dtype=true_logits.dtype, device=true_logits.device).detach()
    return ((true_logits - scale).square() / (2 * scale)).mean()
