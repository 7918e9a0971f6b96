"""The device of statistics: they are sums in float64, which some devices lack."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["for_statistics", "statistics_device"]

# Types of devices without float64: Apple's GPUs.
_SINGLE = ("mps",)


def statistics_device(device: torch.device | str) -> torch.device:
    """Return the device for statistics of a device's tensors: the same, or the CPU if it has no float64.

    Parameters
    ----------
    device : device

    Examples
    --------
    >>> statistics_device("cuda:1"), statistics_device("mps")
    (device(type='cuda', index=1), device(type='cpu'))
    """
    device = torch.device(device)
    return torch.device("cpu") if device.type in _SINGLE else device


def for_statistics(values: Tensor) -> Tensor:
    """Move values to the device of their statistics, in their own type: a device without float64 cannot cast them."""
    return values.to(statistics_device(values.device))
