"""Removal of an encoder's pooler that a checkpoint has no weights for."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from torch import nn

__all__ = ["without_random_pooler"]


def without_random_pooler(model: nn.Module, missing: Iterable[str]) -> nn.Module:
    """Remove a pooler whose weights are missing: its output would differ after every load."""
    optional = "add_pooling_layer" in inspect.signature(type(model).__init__).parameters
    if optional and any(key.startswith("pooler.") for key in missing):
        model.pooler = None  # type: ignore[assignment]
    return model
