"""A linear classifier whose rows are fixed."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from layerwise.arguments import checked
from layerwise.errors import InvalidArgument
from layerwise.training.heads.frame_tensors import simplex_etf

__all__ = ["ETFClassifier", "FixedClassifier"]


class FixedClassifier(nn.Linear):
    """Logits ``W h`` with fixed rows: a linear map without bias whose weight is a buffer, so no optimiser changes it.

    It is saved with the network, moves with it between devices, and is a `torch.nn.Linear`, so that profiles find it as
    the head. Initialise the network before adding it, since initialisers change every `Linear`.

    Parameters
    ----------
    frame : Tensor
        The rows, shape ``(K, d)``, such as `layerwise.heads.simplex_etf`.
    feature_norm : float, optional
        Features are first scaled to this length; not scaled by default.

    Raises
    ------
    InvalidArgument
        If the frame is no matrix, or the norm not above 0.

    Examples
    --------
    >>> import torch
    >>> head = FixedClassifier(torch.eye(2, 3), feature_norm=2.0)
    >>> head(torch.tensor([[3.0, 4.0, 0.0]]))
    tensor([[1.2000, 1.6000]])
    >>> list(head.parameters())
    []
    """

    @checked()
    def __init__(self, frame: Tensor, *, feature_norm: float | None = None) -> None:
        if frame.ndim != 2:
            raise InvalidArgument(f"a classifier's rows have shape (K, d), not {tuple(frame.shape)}")
        if feature_norm is not None and not (math.isfinite(feature_norm) and feature_norm > 0):
            raise InvalidArgument(f"features can be brought to a norm above 0, not {feature_norm}")
        # `Linear.__init__` would make a parameter of the weight.
        nn.Module.__init__(self)
        self.out_features, self.in_features = frame.shape
        self.feature_norm = feature_norm
        self.register_buffer("weight", frame.detach().clone())
        self.register_parameter("bias", None)

    def forward(self, features: Tensor) -> Tensor:
        """Return class scores, shape ``(n, K)``, for features ``(n, d)``."""
        if self.feature_norm is not None:
            features = self.feature_norm * normalize(features, dim=-1)
        return linear(features, self.weight)

    def reset_parameters(self) -> None:
        """Do nothing: the rows are fixed."""

    def extra_repr(self) -> str:
        """Return width, classes and norm."""
        return f"in_features={self.in_features}, out_features={self.out_features}, feature_norm={self.feature_norm}"


class ETFClassifier(FixedClassifier):
    """A classifier fixed to a simplex ETF: features collapse onto the same frame for any imbalance.

    Train it with cross entropy, or with `layerwise.losses.dot_regression`.

    Parameters
    ----------
    features, classes : int
        ``d`` and ``K``, ``K <= d + 1``.
    norm : float
        Length of the rows, ``sqrt(E_W)``.
    feature_norm : float, optional
        Features are first scaled to this length, ``sqrt(E_H)``; None does not scale them.
    seed : int
        Seed of the random rotation of the frame.

    Raises
    ------
    OutOfRange
        If there are fewer than two classes, or more than ``d + 1``.

    References
    ----------
    Yang et al. 2022, Inducing neural collapse in imbalanced learning, arXiv:2203.09081.

    Examples
    --------
    >>> import torch
    >>> from layerwise.training.losses import dot_regression
    >>> head = ETFClassifier(16, classes=4)
    >>> logits = head(torch.randn(8, 16, requires_grad=True))
    >>> dot_regression(logits, torch.arange(8) % 4, head.scale).backward()
    """

    @checked()
    def __init__(
        self, features: int, classes: int, *, norm: float = 1.0, feature_norm: float | None = 1.0, seed: int = 0
    ) -> None:
        super().__init__(simplex_etf(classes, features, norm=norm, seed=seed), feature_norm=feature_norm)
        self.norm = norm

    @property
    def scale(self) -> float:
        """The greatest logit, ``sqrt(E_W E_H)``; if features are not scaled, that of features of length one."""
        return self.norm * (1.0 if self.feature_norm is None else self.feature_norm)
