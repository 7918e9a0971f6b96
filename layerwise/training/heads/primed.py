"""A classifier that is told the attribute that it would otherwise learn as a shortcut."""

from __future__ import annotations

from torch import Tensor, nn

from layerwise.arguments import checked
from layerwise.errors import InvalidArgument, InvalidLabels
from layerwise.training.heads.frame_tensors import simplex_etf

__all__ = ["PrimedClassifier"]


class PrimedClassifier(nn.Module):
    """Logits ``W h + P p_a``: a head that reads the features and a prime, the fixed vector of a bias attribute.

    The primes are the rows of a simplex ETF, as wide as the features. In training they carry what the attribute says
    of the class, and the features are left with the rest; at test time there is no attribute, and the prime is 0.
    Train it with `layerwise.losses.primed_cross_entropy`.

    Parameters
    ----------
    features, classes, attributes : int
        ``d``, ``K``, and the values of the bias attribute ``A``, ``2 <= A <= K`` and ``A <= d + 1``: the loss asks the
        logits of the prime for the attribute.
    seed : int
        Seed of the rotation of the primes.

    Raises
    ------
    InvalidArgument
        If there are fewer than two attributes, more than classes, or more than ``d + 1``.

    References
    ----------
    Wang et al. 2024, Navigate beyond shortcuts: debiased learning through the lens of neural collapse
    (arXiv:2405.05587).

    Examples
    --------
    >>> import torch
    >>> head = PrimedClassifier(16, classes=10, attributes=10)
    >>> features, colours = torch.randn(4, 16), torch.tensor([0, 3, 3, 9])
    >>> head(features, colours).shape, torch.equal(head(features), head.of_features(features))
    (torch.Size([4, 10]), True)
    """

    primes: Tensor

    @checked()
    def __init__(self, features: int, classes: int, attributes: int, *, seed: int = 0) -> None:
        super().__init__()
        if attributes > classes:
            raise InvalidArgument(
                f"attributes={attributes}: at most as many as classes, {classes}, whose logits name them"
            )
        self.of_features = nn.Linear(features, classes, bias=False)
        self.of_prime = nn.Linear(features, classes, bias=False)
        self.register_buffer("primes", simplex_etf(attributes, features, seed=seed))

    def forward(self, features: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Return class scores ``(n, K)`` for features ``(n, d)`` and attributes ``(n,)``; without them the prime is 0.

        Raises
        ------
        InvalidLabels
            If attributes are no integers, or not as many as samples.
        """
        scores: Tensor = self.of_features(features)
        if attributes is None:
            return scores
        if attributes.is_floating_point() or attributes.shape != features.shape[:1]:
            raise InvalidLabels(
                f"attributes have shape {tuple(attributes.shape)} and type {attributes.dtype}; "
                f"an integer for each of {len(features)} samples is needed"
            )
        share: Tensor = self.of_prime(self.primes[attributes])
        return scores + share
