"""Poolers of transformers' encoders that a checkpoint has no weights for."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from torch import nn

__all__ = ["without_random_pooler"]


def without_random_pooler(model: nn.Module, missing: Iterable[str]) -> nn.Module:
    """Take off a pooler whose weights are among the missing: its output would differ from load to load."""
    optional = "add_pooling_layer" in inspect.signature(type(model).__init__).parameters
    if optional and any(key.startswith("pooler.") for key in missing):
        model.pooler = None  # type: ignore[assignment]
    return model
