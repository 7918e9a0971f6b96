"""Made-up inputs for any model of transformers, by what its forward takes and what its configuration says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["generated"]

_TEXTS = 12
#: How many samples are made up.
SAMPLES = 2
_PARTS = ("text_config", "vision_config", "audio_config", "thinker_config", "encoder", "decoder", "backbone_config")


def generated(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Inputs to try one after the other: all that the model takes, its main input alone, and texts."""
    accepted = inspect.signature(model.forward).parameters
    config: Any = model.config
    makers = {
        "input_ids": _ids,
        "attention_mask": lambda _: torch.ones(SAMPLES, _TEXTS, dtype=torch.int64),
        "decoder_input_ids": _ids,
        "pixel_values": _pictures,
        "pixel_values_videos": _videos,
        "task_inputs": _ids,
        "input_features": _features,
        "input_values": _waves,
        "audio_values": _waves,
        "past_values": _series,
        "bbox": lambda _: torch.zeros(SAMPLES, _TEXTS, 4, dtype=torch.int64),
        "inputs_embeds": _embeddings,
        "hidden_states": _embeddings,
        "grid_thw": _grid,
        "image_grid_thw": _grid,
        "visual_feats": lambda config: torch.randn(SAMPLES, 5, config.visual_feat_dim),
        "visual_pos": lambda _: torch.rand(SAMPLES, 5, 4),
    }
    if "grid_thw" in accepted or "image_grid_thw" in accepted:
        makers.update(pixel_values=_patches, hidden_states=_patches)
    main: Any = getattr(model, "main_input_name", "input_ids")
    mains = [main] if isinstance(main, str) else list(main)
    required = [
        name
        for name, item in accepted.items()
        if item.default is inspect.Parameter.empty and item.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    text = ["input_ids", "attention_mask"] + ["decoder_input_ids"] * bool(getattr(config, "is_encoder_decoder", False))
    sight = ["pixel_values"]
    wishes = [
        *([[*text, *sight, "image_grid_thw", "bbox"]] if "pixel_values" in accepted else []),
        *([[*text, "input_features"]] if "input_features" in accepted else []),
        *([[*text, "input_values"]] if "input_values" in accepted else []),
        [*mains, *text, "bbox"],
        [*mains, "decoder_input_ids"],
        mains,
        text,
        required,
        [*mains, "visual_feats", "visual_pos"],
        ["past_values"],
        ["pixel_values_videos"],
        ["inputs_embeds"],
    ]
    seen = []
    for wish in wishes:
        names = list(dict.fromkeys(name for name in (*wish, *required) if name in accepted and name in makers))
        if names and names not in seen:
            seen.append(names)
            try:
                yield _placed(model, {name: makers[name](config) for name in names})
                yield {name: makers[name](config) for name in names}
            except Exception:
                continue


def _placed(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The same, with as many picture or sound tokens among the texts as the model makes of a picture or a sound."""
    config = model.config
    for source, extras, method, fields in (
        ("pixel_values", ("image_grid_thw",), "get_image_features", ("image_token_id", "image_token_index")),
        ("input_features", (), "get_audio_features", ("audio_token_id", "audio_token_index")),
    ):
        token = next((getattr(config, name) for name in fields if getattr(config, name, None) is not None), None)
        inner = model if hasattr(model, method) else getattr(model, "model", None)
        if source in inputs and "input_ids" in inputs and token is not None and hasattr(inner, method):
            with torch.no_grad():
                found = getattr(inner, method)(inputs[source], *(inputs[extra] for extra in extras if extra in inputs))
            rows = _rows(found) // SAMPLES
            ids = inputs["input_ids"]
            inputs["input_ids"] = torch.cat([ids[:, :2], torch.full((SAMPLES, rows), token), ids[:, 2:]], 1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    return inputs


def _rows(found: Any) -> int:
    found = getattr(found, "pooler_output", found)
    if isinstance(found, (list, tuple)):
        return sum(_rows(item) for item in found)
    return int(found.shape[:-1].numel())


def _field(config: Any, *names: str, default: Any = None) -> Any:
    """A field of the configuration, or of one of its parts."""
    for name in names:
        for part in (config, *(getattr(config, part, None) for part in _PARTS)):
            value = part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)
            if value is not None:
                return value
    return default


def _ids(config: Any) -> torch.Tensor:
    size = _field(config, "vocab_size", default=100)
    generator = torch.Generator().manual_seed(0)
    low = min(10, size // 4)
    ids = torch.randint(low, max(min(size, 90), low + 1), (SAMPLES, _TEXTS), generator=generator)
    end = getattr(config, "eos_token_id", None)
    if isinstance(end, int) and 0 <= end < size:
        ids[:, -1] = end  # some pool at the end of the text, and look for it
    return ids


def _pictures(config: Any) -> torch.Tensor:
    vision = getattr(config, "vision_config", None) or config
    size = _field(vision, "image_size", "input_size", "img_size", default=224)
    height, width = (size[0], size[1]) if isinstance(size, (list, tuple)) else (size, size)
    if isinstance(size, Mapping):
        height, width = size["height"], size["width"]
    channels = _field(vision, "num_channels", "in_channels", "in_chans", default=3)
    shape = (SAMPLES, channels, height, width)
    frames = _field(vision, "num_frames")
    return torch.randn(SAMPLES, frames, *shape[1:]) if isinstance(frames, int) else torch.randn(shape)


def _grid(_: Any) -> torch.Tensor:
    return torch.tensor([[1, 4, 4]] * SAMPLES)


def _patches(config: Any) -> torch.Tensor:
    """The pictures of `_grid`, cut into patches, one a row."""
    vision = getattr(config, "vision_config", None) or config
    channels = _field(vision, "in_channels", "in_chans", "num_channels", default=3)
    size = _field(vision, "patch_size", default=14)
    return torch.randn(16 * SAMPLES, channels * _field(vision, "temporal_patch_size", default=1) * size**2)


def _videos(config: Any) -> torch.Tensor:
    size = _field(config, "crop_size", "image_size", default=224)
    return torch.randn(SAMPLES, _field(config, "frames_per_clip", "num_frames", default=8), 3, size, size)


def _features(config: Any) -> torch.Tensor:
    bins = _field(config, "num_mel_bins", "input_feat_per_channel", "feature_size", "num_mel_features", default=80)
    length = _field(config, "max_source_positions")
    if _field(config, "input_feat_per_channel") is not None or length is None:
        return torch.randn(SAMPLES, 128, bins)
    return torch.randn(SAMPLES, bins, 2 * length)


def _waves(config: Any) -> torch.Tensor:
    bins, length = _field(config, "num_mel_bins"), _field(config, "max_length")
    if bins is not None and length is not None and getattr(config, "patch_size", None) is not None:
        return torch.randn(SAMPLES, length, bins)
    channels = _field(config, "audio_channels")
    return torch.randn(SAMPLES, 1, 16_000) if channels is not None else torch.randn(SAMPLES, 16_000)


def _series(config: Any) -> torch.Tensor:
    return torch.randn(SAMPLES, _field(config, "context_length"), _field(config, "num_input_channels", default=1))


def _embeddings(config: Any) -> torch.Tensor:
    return torch.randn(SAMPLES, _TEXTS, _field(config, "hidden_size", "d_model"))
