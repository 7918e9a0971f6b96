"""Outputs and layers of a network that hold the class scores, or judge a target because the caller names them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from layerwise.errors import LayerwiseError, UnknownName
from layerwise.network.graph.blocks import choose
from layerwise.network.graph.trace import Trace
from layerwise.network.layer import Layer

__all__ = ["find_judges", "score_layers"]


def find_judges(
    heads: Mapping[str, str], trace: Trace, outputs: Collection[str], targets: Sequence[str]
) -> dict[str, Layer]:
    """Return the judging layer of every target; targets that a named output judges are left out.

    Parameters
    ----------
    heads : mapping of target to str
        Names of outputs or layers.
    trace : Trace
    outputs : collection of str
        Names of the network's outputs (`layerwise.network.network.Answer`).
    targets : sequence of str

    Raises
    ------
    UnknownName
        If there is no such target, output or layer.
    """
    judges = {}
    for target, name in heads.items():
        if target not in targets:
            raise UnknownName("target", target, targets, hint="heads= names it")
        if name in outputs:
            continue
        try:
            layers = [layer for layer in choose(trace, [name]) if layer.name == name]
        except LayerwiseError:
            layers = []
        if not layers or len(layers[-1].shape) > 1:
            candidates = [layer.name for layer in choose(trace, "leaves") if len(layer.shape) == 1]
            raise UnknownName(
                "output or layer", name, [*filter(None, outputs), *candidates], hint=f"heads= names it for {target!r}"
            )
        judges[target] = layers[-1]
    return judges


def score_layers(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers that may hold the class scores: all logits that are as many as those of the last such layer."""
    logits = [layer for layer in layers if layer.role == "logits" and not layer.is_complex]
    scores = [layer for layer in logits if layer.keeps_samples and len(layer.shape) == 1]
    return [layer for layer in scores if layer.shape == scores[-1].shape]
