"""What a capture of layers takes in one forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from layerwise.network.capture import Capture
from layerwise.network.inference import evaluating
from layerwise.network.layer import Layer


def captured(model: nn.Module, layers: Sequence[Layer | str], run: Callable[[], Any]) -> dict[str, Tensor]:
    """Copies of the activations of one quiet forward, by layer name."""
    found: dict[str, Tensor] = {}
    chosen = [Layer(item) if isinstance(item, str) else item for item in layers]
    with (
        evaluating(model),
        Capture(model, chosen, lambda layer, value: found.update({layer.name: value.clone()})) as capture,
        capture.forward(),
    ):
        run()
    return found
