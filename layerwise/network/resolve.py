"""Resolve a model or the name of one to a network on a device."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import nn

from layerwise.adapters import adapter_for, load
from layerwise.errors import InvalidData, shown
from layerwise.network.capture import unwrap
from layerwise.network.network import Network
from layerwise.network.weights import device_of
from layerwise.runtime.reading_errors import reason

__all__ = ["find_network"]


def find_network(
    model: nn.Module | str, device: str | torch.device | None, *, trust_remote_code: bool = False
) -> tuple[Network, str]:
    """A network and what to call it, from a model or a model's name; code that comes with it runs where it is trusted.

    Raises
    ------
    InvalidData
        If it is neither, or cannot be brought to the device.
    """
    if isinstance(model, str):
        loaded, _ = load(model, trust_remote_code=trust_remote_code)
        # What a function gives may be a model of timm's, which knows its own preprocessing.
        network, _ = find_network(loaded, device or "cpu")
        return network, model
    if not isinstance(model, nn.Module):
        raise InvalidData(
            f"a network is a torch module or a name such as 'timm/resnet50', not a {type(model).__name__}"
        )
    adapter = adapter_for(unwrap(model))
    module = unwrap(model)
    _refuse_without_values(module)
    before = device_of(module)
    if device is not None:
        try:
            module.to(device)
        except Exception as error:
            # Some of the weights may have gone before one did not.
            with suppress(Exception):
                module.to(before)
            there = f"there are cpu and {torch.cuda.device_count()} CUDA devices"
            raise InvalidData(f"the network cannot be brought to {str(device)!r}; {there}: {reason(error)}") from error
    return Network(module, adapter, before if device is None else torch.device(device)), _name_of(module)


def _refuse_without_values(module: nn.Module) -> None:
    """Refuse weights on the device meta, unless accelerate brings their values when they are needed."""
    offloaded = any(hasattr(part, "_hf_hook") for part in module.modules())
    lacking = next((name for name, value in module.named_parameters() if value.is_meta), None)
    if lacking is not None and not offloaded:
        raise InvalidData(
            f"the network's weights have no values: {shown(lacking)} is on the device 'meta'; load them, or bring the "
            "network to a device by module.to_empty(device=...) and load_state_dict"
        )


def _name_of(module: nn.Module) -> str:
    config = getattr(module, "pretrained_cfg", None)
    if isinstance(config, dict) and config.get("architecture"):
        return ".".join(part for part in (config["architecture"], config.get("tag")) if part)
    return str(getattr(module, "name_or_path", "") or type(module).__name__)
