"""Nests of tensors: what a batch's inputs are, in tuples, lists and mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

__all__ = ["mapped"]


def mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same nest with `function` of every tensor; what is no tensor stays.

    Examples
    --------
    >>> import torch
    >>> mapped({"a": (torch.ones(2), "b")}, torch.neg)
    {'a': (tensor([-1., -1.]), 'b')}
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: mapped(item, function) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [mapped(item, function) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
