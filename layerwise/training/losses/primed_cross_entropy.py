"""The cross entropy of a classifier that is primed with a bias attribute."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from layerwise.training.heads.primed import PrimedClassifier

__all__ = ["primed_cross_entropy"]


def primed_cross_entropy(
    head: PrimedClassifier, features: Tensor, labels: Tensor, attributes: Tensor, *, weight: float = 0.8
) -> Tensor:
    """Return the cross entropy of the primed scores, and that of the prime's own share in them.

    ``CE(f[h, p_a], y) + weight CE(f[h, p_a] - f[h, 0], a)``: the second term makes the prime carry the attribute, so
    that the features need not. In ``[0, inf)``.

    Parameters
    ----------
    head : PrimedClassifier
    features : Tensor
        Shape ``(n, d)``.
    labels, attributes : Tensor
        Class and bias attribute of every sample, integers from 0, shape ``(n,)``.
    weight : float
        Of the second term; .8 in the paper.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    InvalidLabels
        If attributes are no integers, or not as many as samples.

    References
    ----------
    Wang et al. 2024, Navigate beyond shortcuts: debiased learning through the lens of neural collapse
    (arXiv:2405.05587).

    Examples
    --------
    >>> import torch
    >>> head = PrimedClassifier(8, classes=3, attributes=3)
    >>> labels = torch.tensor([0, 1, 2])
    >>> primed_cross_entropy(head, torch.randn(3, 8), labels, attributes=labels).ndim
    0
    """
    primed, plain = head(features, attributes), head(features)
    return cross_entropy(primed, labels) + weight * cross_entropy(primed - plain, attributes)
