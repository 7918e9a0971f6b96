"""The blocks of a network, and their names, in one call."""

from __future__ import annotations

from torch import Tensor, nn

from layerwise.network.graph.blocks import find_blocks
from layerwise.network.graph.trace import trace
from layerwise.network.layer import Layer

__all__ = ["blocks_of", "names"]


def blocks_of(net: nn.Module, *inputs: Tensor, head: str | None = None, **named: Tensor) -> list[Layer]:
    """The blocks that are found in one forward."""
    return find_blocks(trace(net, lambda: net(*inputs, **named)), head)


def names(layers: list[Layer], *roles: str) -> list[str]:
    """Their names, of those with certain roles when some are given."""
    return [layer.name for layer in layers if not roles or layer.role in roles]
