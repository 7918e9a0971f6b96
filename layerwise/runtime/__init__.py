"""Processes, progress, files, the environment and nested tensors; nothing here depends on a network."""

from layerwise.runtime.notes import Notes
from layerwise.runtime.pixels import bytes_of_array, colour_picture, grey_picture

__all__ = ["Notes", "bytes_of_array", "colour_picture", "grey_picture"]
