"""Made-up inputs for models of transformers, in the form that their configuration asks for."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from layerwise.errors import InvalidData

__all__ = ["example_inputs"]


def example_inputs(model: nn.Module) -> Any:
    """Make inputs of two samples: texts, pictures or sounds.

    Raises
    ------
    InvalidData
        If the model takes other inputs.
    """
    config: Any = getattr(model, "config", None)
    main = getattr(model, "main_input_name", "input_ids")
    if main == "pixel_values":
        config = getattr(config, "vision_config", config)
        size = getattr(config, "image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        return {main: torch.randn(2, getattr(config, "num_channels", 3), height, width)}
    if main == "input_values":
        return {main: torch.randn(2, 16_000)}
    if main == "input_features":
        return {main: torch.randn(2, config.num_mel_bins, 2 * config.max_source_positions)}
    if main != "input_ids":
        raise InvalidData(f"cannot make up {main!r} for this network; profile it with data of its own")
    ids = torch.arange(3, 19).repeat(2, 1)
    return {main: ids, "attention_mask": torch.ones_like(ids)}
