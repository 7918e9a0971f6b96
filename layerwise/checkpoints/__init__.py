"""Checkpoints of a training: which there are, of which epochs, and their weights put into a network.

Only tensors are read; what would run code to be read is refused.
"""

from layerwise.checkpoints.find import Checkpoint, find_checkpoints
from layerwise.checkpoints.load import kept_weights, load_weights
from layerwise.checkpoints.lora import has_adapter, with_adapter, without_adapter

__all__ = [
    "Checkpoint",
    "find_checkpoints",
    "has_adapter",
    "kept_weights",
    "load_weights",
    "with_adapter",
    "without_adapter",
]
