"""Tensors in nested tuples, lists and mappings, such as the inputs of a batch, and the values of single tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["bytes_of", "dense_values", "leaves", "map_tensors", "resampled", "tensors_of"]


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply `function` to every tensor of a nested structure; NumPy's arrays become tensors, other values stay.

    Examples
    --------
    >>> import torch
    >>> map_tensors({"a": (torch.ones(2), "b")}, torch.neg)
    {'a': (tensor([-1., -1.]), 'b')}
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiubc":
        tensor = torch.from_numpy(value)
        # NumPy's default is double precision, that of networks is not.
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
    """Return the tensors of a nested structure, in the order of `map_tensors`."""
    tensors: list[Tensor] = []
    map_tensors(value, lambda tensor: tensors.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return tensors


def leaves(value: Any, is_leaf: Callable[[Any], bool] | None = None, *, by_key: bool = False) -> Iterator[Any]:
    """Yield every value of nested tuples, lists and mappings that is none of these itself.

    Parameters
    ----------
    value
        The structure.
    is_leaf : callable, optional
        Tuples, lists and mappings for which it is true are leaves too.
    by_key : bool
        Take the values of mappings by sorted key; by default in their order.

    Examples
    --------
    >>> list(leaves({"b": [1, (2, "x")], "a": 3}, by_key=True))
    [3, 1, 2, 'x']
    """
    if isinstance(value, Mapping) and not (is_leaf and is_leaf(value)):
        for key in sorted(value) if by_key else value:
            yield from leaves(value[key], is_leaf, by_key=by_key)
    elif isinstance(value, (tuple, list)) and not (is_leaf and is_leaf(value)):
        for item in value:
            yield from leaves(item, is_leaf, by_key=by_key)
    else:
        yield value


def resampled(mask: Tensor, length: int) -> Tensor:
    """Resample a mask ``(n, positions)`` to another number of positions: each takes the value at its centre.

    Examples
    --------
    >>> import torch
    >>> resampled(torch.tensor([[1, 1, 1, 1, 0, 0]]), 3)
    tensor([[1, 1, 0]])
    """
    centres = (2 * torch.arange(length, device=mask.device) + 1) * mask.shape[1] // (2 * length)
    return mask[:, centres]


def dense_values(value: Tensor) -> Tensor:
    """Return the values of a weight: a sharded one is gathered, a quantised one dequantised.

    For a sharded weight every process must call this.
    """
    if type(value) in (Tensor, nn.Parameter, nn.Buffer):
        return value.detach()
    for method in ("full_tensor", "dequantize"):
        if hasattr(value, method):
            value = getattr(value.detach(), method)()
    return value.detach()


def bytes_of(value: Tensor) -> memoryview:
    """Return the values of a tensor, dense and on the CPU, as bytes."""
    return dense_values(value).cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
