"""Checkpoints of a training: finding them and their epochs, and loading their weights into a network.

Only tensors and plain data are read; files that need code to be read are refused.
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
