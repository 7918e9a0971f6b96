"""Complex activations as real ones: a complex feature is two real features, so that distances are kept."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["real_features"]


def real_features(activation: Tensor, channels: int) -> Tensor:
    """Return the real parts of all features, then the imaginary parts; a real activation as it is.

    Parameters
    ----------
    activation : Tensor
        Shape ``(n, ...)``.
    channels : int
        Axis of the features.

    Returns
    -------
    Tensor
        A real tensor, with twice as many features along `channels` where the activation is complex.

    Examples
    --------
    >>> real_features(torch.tensor([[1 + 2j, 3 + 4j]]), 1).tolist()
    [[1.0, 3.0, 2.0, 4.0]]
    """
    if not activation.is_complex():
        return activation
    if activation.ndim == 1:
        activation, channels = activation[:, None], 1
    return torch.cat([activation.real, activation.imag], dim=channels)
