"""Adapters of PEFT: checkpoints that hold a few weights beside those of a base network."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from layerwise.checkpoints.names import best_fit
from layerwise.errors import InvalidData, LayerwiseError

__all__ = ["MissingPackage", "has_adapter", "load_adapter", "with_adapter"]


class MissingPackage(LayerwiseError, ImportError):
    """A package is needed that is not installed."""


def has_adapter(path: Path) -> bool:
    """Whether a checkpoint is an adapter."""
    return (path if path.is_dir() else path.parent).joinpath("adapter_config.json").exists()


def with_adapter(model: nn.Module, path: Path) -> nn.Module:
    """The network with adapters of the form that a checkpoint asks for; the network is changed.

    Raises
    ------
    InvalidData
        If the network has no layers of the names that adapters are asked for.
    MissingPackage
        If peft is not installed.
    """
    peft = _peft()
    config = peft.PeftConfig.from_pretrained(str(path if path.is_dir() else path.parent))
    config.base_model_name_or_path = getattr(model, "name_or_path", None)
    try:
        wrapped: nn.Module = peft.get_peft_model(model, config)
    except (ValueError, AttributeError) as error:
        raise InvalidData(f"the network cannot take the adapter {path}: {error}") from error
    return wrapped


def load_adapter(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put the weights of an adapter into a network that has one of the same form.

    Raises
    ------
    InvalidData
        If the network has no adapter.
    MissingPackage
        If peft is not installed.
    WeightsMismatch
        If its adapter is of another form.
    """
    peft: Any = _peft()
    if not isinstance(model, peft.PeftModel):
        raise InvalidData(
            f"{path} is an adapter of PEFT, and the network has none: give it the network as PEFT makes it, such as "
            "peft.PeftModel.from_pretrained(network, folder), or a network by name"
        )
    name = model.active_adapter
    own = peft.get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    best_fit(own, tensors, str(path))
    peft.set_peft_model_state_dict(model, dict(tensors), adapter_name=name)


def _peft() -> Any:
    try:
        return importlib.import_module("peft")
    except ModuleNotFoundError as error:
        raise MissingPackage("an adapter is loaded by the package peft: pip install peft") from error
