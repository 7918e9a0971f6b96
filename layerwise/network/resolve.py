"""Resolve a model, or the name of one, to a network on a device."""

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
    """Resolve a model, or the name of one, to a network on a device.

    Parameters
    ----------
    model : Module or str
        A module, or a name such as ``"timm/resnet50"``.
    device : str, device or None
        Where the network is moved; None leaves a module where it is, and puts a named one on the CPU.
    trust_remote_code : bool
        Whether code that comes with a named model may run.

    Returns
    -------
    (Network, str)
        The network, and the name of the model in a profile.

    Raises
    ------
    InvalidData
        If `model` is neither, has weights without values, or cannot be moved to the device.
    """
    if isinstance(model, str):
        loaded, _ = load(model, trust_remote_code=trust_remote_code)
        # A function may return a model of timm, which has its own preprocessing: its class decides on the adapter.
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
            # Some of the weights may have been moved before one failed.
            with suppress(Exception):
                module.to(before)
            devices = f"there are cpu and {torch.cuda.device_count()} CUDA devices"
            raise InvalidData(
                f"the network cannot be brought to {str(device)!r}; {devices}: {reason(error)}"
            ) from error
    return Network(module, adapter, before if device is None else torch.device(device)), _name_of(module)


def _refuse_without_values(module: nn.Module) -> None:
    """Refuse weights on the device meta, unless accelerate loads their values when they are needed."""
    offloaded = any(hasattr(part, "_hf_hook") for part in module.modules())
    empty = next((name for name, value in module.named_parameters() if value.is_meta), None)
    if empty is not None and not offloaded:
        raise InvalidData(
            f"the network's weights have no values: {shown(empty)} is on the device 'meta'; load them, or move the "
            "network to a device by module.to_empty(device=...) and load_state_dict"
        )


def _name_of(module: nn.Module) -> str:
    """Return the name that timm or Hugging Face gave a model, else that of its class."""
    config = getattr(module, "pretrained_cfg", None)
    if isinstance(config, dict) and config.get("architecture"):
        return ".".join(part for part in (config["architecture"], config.get("tag")) if part)
    return str(getattr(module, "name_or_path", "") or type(module).__name__)
