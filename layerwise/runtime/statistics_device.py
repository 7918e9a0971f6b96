"""Where statistics are kept: they are sums in float64, which not every device has."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["for_statistics", "statistics_device"]

# The kinds of devices without float64: Apple's GPUs.
_SINGLE = ("mps",)


def statistics_device(device: torch.device | str) -> torch.device:
    """The device on which statistics of a device's tensors are kept: the same, or the CPU where it has no float64.

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
    """The same values, in the same type, on the device on which their statistics are kept.

    They move before they are cast: a device without float64 refuses the cast.
    """
    return values.to(statistics_device(values.device))
