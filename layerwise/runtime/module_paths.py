"""Paths of modules without the prefixes that wrappers add."""

from __future__ import annotations

import re

__all__ = ["clean_name"]

# Prefixes that wrappers put before the names of the user's model.
_WRAPPERS = re.compile(r"^(?:(?:module|_orig_mod|_fsdp_wrapped_module|base_model\.model)(?:\.|$))+")
_INNER = re.compile(
    r"(?<=[^.])\.(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module"
    r"|base_layer|original_module|modules_to_save\.[^.]+)(?=\.|$)"
)


def clean_name(path: str) -> str:
    """Remove the wrappers' parts from a module's path.

    Examples
    --------
    >>> clean_name("module._orig_mod.layer3.1")
    'layer3.1'
    >>> clean_name("base_model.model.bert.encoder.layer.7")
    'bert.encoder.layer.7'
    """
    return _INNER.sub("", _WRAPPERS.sub("", path))
