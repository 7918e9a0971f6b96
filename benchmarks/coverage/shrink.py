"""A small model of any type of transformers, from its default configuration: few layers, narrow, random weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["DEPTH", "shrunken"]

#: Fields that count layers.
DEPTH = re.compile(
    r"(num_hidden_layers|num_layers|n_layers?|num_\w*(hidden|encoder|decoder|text|vision|attention)_layers"
    r"|(encoder|decoder|text|vision|entity)_layers|[lrx]_layers|num_blocks|depth|layers)$"
)
_WIDTH = re.compile(
    r"(\w*hidden_sizes?|\w*hidden_dim|\w*d_model|dim|\w*_dim|\w*_dims|\w*intermediate_sizes?|\w*_rank|d_ff|d_kv|n_embd|n_inner"
    r"|\w*embed(ding)?_size|\w*ffn_dim|\w*_width|width|\w*mrope_section|axes_dims|\w*hidden_channels"
    r"|\w*layer_width|q_lora_rank|kv_lora_rank|embed_dims)$"
)
_KEPT = re.compile(r"(num_|max_|.*(token|vocab|patch|image|position|window|kernel|conv_dim|stride|time|mel|input_dim))")
#: How much narrower, with fewer heads or with narrower ones, and how many layers, in the order in which they are tried.
_ATTEMPTS = (
    *((8, True, 3), (16, False, 3), (8, False, 3), (8, True, 2), (8, False, 2), (4, True, 4), (4, False, 3)),
    *((8, False, None), (2, True, 3), (2, False, 3), (1, False, 2), (2, True, None)),
)
_HEADS = re.compile(r"(\w*num_\w*heads|n_heads?|\w*attention_heads|num_heads|heads)$")
_OF_HEADS = re.compile(r"(\w*head_dim|d_kv|\w*mrope_section|axes_dims|\w*rope_dim)$")


def shrunken(config: Any) -> Iterator[Any]:
    """Smaller and smaller changes of a configuration, until its model works."""
    for factor, heads, layers in _ATTEMPTS:
        try:
            yield _shrunk(config, factor, layers, heads)
        except Exception:  # a field refused its value: the next attempt changes less
            continue


def _shrunk(config: Any, factor: int, layers: int | None, heads: bool) -> Any:
    """One change; `heads` takes heads away, where otherwise heads are made narrower."""
    from transformers import PreTrainedConfig

    # What a part is told by the whole that it is of, its class's own defaults apart.
    values: dict[str, Any] = {
        name: value
        for name, value in config.to_diff_dict().items()
        if name not in ("model_type", "transformers_version", "architectures") and hasattr(config, name)
    }
    depths = {name: value for name, value in vars(config).items() if DEPTH.match(name) and isinstance(value, int)}
    for name, value in vars(config).items():
        if name.startswith("_") or isinstance(value, bool) or value is None:
            continue
        if isinstance(value, PreTrainedConfig):
            values[name] = _shrunk(value, factor, layers, heads)
            continue
        new = value
        if name in depths and layers is not None:
            new = min(value, layers)
        elif name == "depths" and layers is not None:
            new = type(value)(min(item, 2) for item in value)
        elif isinstance(value, list) and layers is not None and len(value) > 4 and len(value) in depths.values():
            new = value[:layers]
        if heads and _HEADS.match(name):
            new = _narrow(new, factor, least=1)
        elif _WIDTH.match(name) and not _KEPT.match(name) and not (heads and _OF_HEADS.match(name)):
            new = _narrow(new, factor)
        elif not heads and isinstance(value, dict) and "mrope_section" in value:
            new = {**value, "mrope_section": [item // factor or 1 for item in value["mrope_section"]]}
        if new != value:
            values[name] = new
    return type(config)(**values)


def _narrow(value: Any, factor: int, least: int = 8) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_narrow(item, factor, least) for item in value)
    fits = isinstance(value, int) and value >= least * factor and value % factor == 0
    return value // factor if fits else value
