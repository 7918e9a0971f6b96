"""Nests of tensors: what a batch's inputs are, in tuples, lists and mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["bytes_of", "dense_values", "map_tensors", "resampled", "tensors_of"]


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same nest with `function` of every tensor; NumPy's arrays become tensors, and all else stays.

    Examples
    --------
    >>> import torch
    >>> mapped({"a": (torch.ones(2), "b")}, torch.neg)
    {'a': (tensor([-1., -1.]), 'b')}
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiubc":
        tensor = torch.from_numpy(value)
        # NumPy is in double precision unless it is told otherwise, networks are not.
        if tensor.dtype in (torch.float64, torch.complex128):
            default = torch.get_default_dtype()
            tensor = tensor.to(default.to_complex() if tensor.is_complex() else default)
        return function(tensor)
    if isinstance(value, Mapping):
        return {key: map_tensors(item, function) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [map_tensors(item, function) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors of a nest, in the order in which `map_tensors` meets them."""
    found: list[Tensor] = []
    map_tensors(value, lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return found


def resampled(mask: Tensor, length: int) -> Tensor:
    """A mask ``(n, positions)`` at another number of positions: each has what lies at its centre.

    Examples
    --------
    >>> import torch
    >>> resampled(torch.tensor([[1, 1, 1, 1, 0, 0]]), 3)
    tensor([[1, 1, 0]])
    """
    centres = (2 * torch.arange(length, device=mask.device) + 1) * mask.shape[1] // (2 * length)
    return mask[:, centres]


def dense_values(value: Tensor) -> Tensor:
    """The values of a weight: of one that is sharded all shards, of a quantised one the numbers that it stands for.

    Every process has to ask for a weight that is sharded.
    """
    if type(value) in (Tensor, nn.Parameter, nn.Buffer):
        return value.detach()
    for whole in ("full_tensor", "dequantize"):
        if hasattr(value, whole):
            value = getattr(value.detach(), whole)()
    return value.detach()


def bytes_of(value: Tensor) -> memoryview:
    """The values of a tensor, dense and on the CPU, as bytes."""
    return dense_values(value).cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
