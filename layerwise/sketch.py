"""A fixed-seed random projection for features too wide to keep a covariance of."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["Sketch"]


class Sketch:
    """Random projection to `width` features: every feature is added, with a random sign, to a random one of them.

    A count sketch (Charikar, Chen & Farach-Colton 2002) with equally filled buckets: squared distances are kept in
    expectation, with relative standard deviation `error`. It costs one addition a feature and keeps no matrix.

    Parameters
    ----------
    features : int
        Width of what is projected, ``d``.
    width : int
        Width of the projection, ``k``.
    seed : int
        The same seed gives the same projection on every device.

    Examples
    --------
    >>> import torch
    >>> sketch = Sketch(10_000, 500)
    >>> sketch(torch.ones(2, 10_000)).shape
    torch.Size([2, 500])
    >>> round(sketch.error, 3)
    0.063
    """

    def __init__(self, features: int, width: int, seed: int = 0) -> None:
        self.width = width
        generator = torch.Generator().manual_seed(seed)
        padded = math.ceil(features / width) * width
        self._padding = padded - features
        self._order = torch.randperm(padded, generator=generator)
        self._signs = torch.randint(0, 2, (padded,), generator=generator, dtype=torch.int8) * 2 - 1

    @property
    def error(self) -> float:
        """Relative standard deviation of a squared distance, ``sqrt(2 / k)``."""
        return math.sqrt(2 / self.width)

    def __call__(self, features: Tensor) -> Tensor:
        """Project features of shape ``(n, d)`` to ``(n, k)``, at least single precision."""
        precise = torch.promote_types(features.dtype, torch.float32)
        order, signs = self._order.to(features.device), self._signs.to(features.device)
        padded = torch.nn.functional.pad(features, (0, self._padding))
        signed = padded.index_select(1, order).to(precise) * signs
        # Summed in double precision: a common offset of the features cancels here.
        folded = signed.view(len(features), -1, self.width)
        return folded.sum(1, dtype=torch.float64).to(precise)
