"""What the other arguments of functions that measure can be."""

from __future__ import annotations

import torch

from layerwise.arguments import (
    FLAG,
    NAME,
    PATH,
    Kind,
    anything,
    either,
    instance,
    number,
    optional,
    parsed,
    whole,
)
from layerwise.errors import InvalidArgument, shown
from layerwise.settings.settings import Settings

__all__ = ["ARGUMENTS", "SETTINGS"]


def _device(value: str | int | torch.device) -> torch.device:
    available = f"there are cpu and {torch.cuda.device_count()} CUDA devices"
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError, ValueError):
        raise InvalidArgument(f"the network cannot be brought to {shown(value)}; {available}") from None
    if device.type == "meta":
        raise InvalidArgument(
            f"the network would lose its weights on the device 'meta', which holds no values; {available}"
        )
    return device


def _with(attribute: str) -> Kind:
    """Objects that have an attribute."""
    return anything("", lambda value: hasattr(value, attribute))


SETTINGS = instance("settings are a layerwise.Settings; single ones are given by their names", Settings)

#: What the other arguments of functions that measure can be.
ARGUMENTS: dict[str, Kind] = {
    "device": optional(parsed("a device is a name such as 'cpu' or 'cuda:0'", _device, (str, int, torch.device))),
    "batch_size": whole("a batch has 1 sample or more", 1),
    "settings": optional(SETTINGS),
    "split": optional(NAME),
    "target": optional(NAME),
    "run": NAME,
    "store": optional(either("a store is a path, or what open_store returns", PATH, _with("runs"))),
    "resume_dir": optional(either("what is not finished is kept in a folder: give its path", PATH, _with("folder"))),
    "checkpoints": PATH,
    "overwrite": FLAG,
    "base": FLAG,
    "resume": FLAG,
    "trust_remote_code": FLAG,
    "epoch": number("an epoch is a number", -(2**53), 2**53),
    "step": optional(whole("a step is a whole number of 0 or more")),
}
