"""A linear classifier whose rows are fixed."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from layerwise.arguments import checked
from layerwise.errors import InvalidData
from layerwise.training.heads.frame_tensors import simplex_etf

__all__ = ["ETFClassifier", "FixedClassifier"]


class FixedClassifier(nn.Linear):
    """Logits ``W h`` with fixed rows: a linear map without bias whose weight is a buffer, so no optimiser moves it.

    It is saved with the network, follows it between devices, and is a `torch.nn.Linear` to whatever looks for one, a
    profile among them: initialise the network before it is put in.

    Parameters
    ----------
    frame : Tensor
        The rows, shape ``(K, d)``: of `layerwise.training.heads.simplex_etf`, say.
    feature_norm : float, optional
        Features are first brought to this length; by default they are taken as they are.

    Raises
    ------
    InvalidData
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
            raise InvalidData(f"a classifier's rows have shape (K, d), not {tuple(frame.shape)}")
        if feature_norm is not None and not (math.isfinite(feature_norm) and feature_norm > 0):
            raise InvalidData(f"features can be brought to a norm above 0, not {feature_norm}")
        # Not that of Linear, which would make a parameter of the weight.
        nn.Module.__init__(self)
        self.out_features, self.in_features = frame.shape
        self.feature_norm = feature_norm
        self.register_buffer("weight", frame.detach().clone())
        self.register_parameter("bias", None)

    def forward(self, features: Tensor) -> Tensor:
        """Class scores, shape ``(n, K)``, of features ``(n, d)``."""
        if self.feature_norm is not None:
            features = self.feature_norm * normalize(features, dim=-1)
        return linear(features, self.weight)

    def reset_parameters(self) -> None:
        """Nothing: the rows are fixed."""

    def extra_repr(self) -> str:
        """Width, classes and norm."""
        return f"in_features={self.in_features}, out_features={self.out_features}, feature_norm={self.feature_norm}"


class ETFClassifier(FixedClassifier):
    """A classifier fixed to a simplex ETF: features collapse onto the same frame for any imbalance.

    Train it with cross entropy, or with `layerwise.training.losses.dot_regression`. Yang et al. 2022.

    Parameters
    ----------
    features, classes : int
        ``d`` and ``K``, ``K <= d + 1``.
    norm : float
        Length of the rows, ``sqrt(E_W)``.
    feature_norm : float, optional
        Features are first brought to this length, ``sqrt(E_H)``; None takes them as they are.
    seed : int
        Of the rotation of the frame.

    Raises
    ------
    OutOfRange
        If there are fewer than two classes, or more than ``d + 1``.

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
        """The greatest logit, ``sqrt(E_W E_H)``; with features as they are, of those of length one."""
        return self.norm * (1.0 if self.feature_norm is None else self.feature_norm)
