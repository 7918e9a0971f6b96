"""Adapters of PEFT: checkpoints with a few weights that are added to those of a base network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerwise.checkpoints.match_names import Fit, WeightsMismatch, best_fit
from layerwise.errors import InvalidData, listed
from layerwise.runtime.extras import from_extra
from layerwise.runtime.reading_errors import refusing

__all__ = ["adapter_folder", "has_adapter", "load_adapter", "with_adapter", "without_adapter"]

# Entries of a configuration that do not determine how the adapter acts, or that follow from its weights.
_NOT_COMPARED = {
    *("base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "peft_version", "task_type"),
    *("target_modules", "exclude_modules", "modules_to_save", "init_lora_weights", "init_weights", "lora_dropout"),
    *("prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"),
    *("runtime_config", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "ensure_weight_tying"),
}

# Weights of the network itself, such as a head or embeddings, which PEFT saves with those of the adapter.
_PLAIN = re.compile(r"(^|\.)(weight|bias)$")
_OF_ADAPTER = re.compile(
    r"(^|\.)(lora|ia3|hada|boft|oft|vera|vblora|fourierft|hra|randlora|shira|adaption|prompt)_|prompt_e"
)


def adapter_folder(path: Path) -> Path:
    """Return the folder of a checkpoint that is a folder, or a file in it."""
    return path if path.is_dir() else path.parent


def has_adapter(path: Path) -> bool:
    """Whether a checkpoint is an adapter."""
    return adapter_folder(path).joinpath("adapter_config.json").exists()


def with_adapter(model: nn.Module, path: Path) -> nn.Module:
    """Add an adapter of the form of a checkpoint to a network, in place, and return the wrapped network.

    The adapter has its initial weights; `load_adapter` loads those of the checkpoint. A network that has adapters is
    returned unchanged.

    Raises
    ------
    InvalidData
        If the network has no layers of the names that the configuration asks for.
    MissingPackage
        If peft is not installed.
    """
    peft = _peft()
    if hasattr(model, "peft_config"):
        return model
    config = _config(path)
    config.base_model_name_or_path = model.__dict__.get("name_or_path")
    if config.task_type is not None and getattr(model, "base_model", None) is model:
        # A network without a head has no task, and PEFT must not pass the arguments of one.
        config.task_type = peft.TaskType.FEATURE_EXTRACTION if config.is_prompt_learning else None
    with refusing(f"the network cannot take the adapter {path}"):
        wrapped: nn.Module = peft.get_peft_model(model, config)
    return wrapped


def load_adapter(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> list[str]:
    """Load the weights of an adapter into a network with an adapter of the same form.

    Returns
    -------
    list of str
        Weights outside of the adapter that the network has no place for, such as those of a head.

    Raises
    ------
    InvalidData
        If the network has no adapter, or one that is not used in the forward.
    MissingPackage
        If peft is not installed.
    WeightsMismatch
        If the network's adapter has another form.
    """
    peft: Any = _peft()
    if not isinstance(model, peft.PeftModel):
        raise InvalidData(
            f"{path} is an adapter of PEFT, and the network has none: give it the network as PEFT makes it, such as "
            "peft.PeftModel.from_pretrained(network, folder), or a network by name"
        )
    _refuse_idle(model, path)
    name = _active(model, path)
    _refuse_other_form(model.peft_config[name], path)
    fit, left_out = _fit(_adapter_weights(model, name, tensors), tensors, path)
    named = {in_network: tensors[in_file] for in_network, in_file in fit.pairs.items()}
    peft.set_peft_model_state_dict(model, dict(named), adapter_name=name)
    loaded = _adapter_weights(model, name, tensors)
    lost = [in_network for in_network, value in named.items() if not _same(loaded[in_network], value)]
    if lost:
        raise WeightsMismatch(f"of {path}, {listed(lost, 3)} did not get into the network")
    return left_out


@contextmanager
def without_adapter(model: Any) -> Iterator[None]:
    """Run the network without its adapter, if it has one, within the context."""
    configs = getattr(model, "peft_config", None)
    if not configs:
        yield
    elif not any(config.is_prompt_learning for config in configs.values()):
        with model.disable_adapter():
            yield
    else:
        # PEFT's own method is for networks that generate text.
        base = model.get_base_model()

        @wraps(base.forward)
        def forward(*args: Any, **kwargs: Any) -> Any:
            return base(*args, **kwargs)

        model.forward = forward
        try:
            yield
        finally:
            del model.forward


def _config(path: Path) -> Any:
    """Read the configuration of an adapter; refuse one that would import modules of others.

    Initial weights of a prompt are random, since the trained ones replace them; no tokenizer is loaded for them.
    """
    file = adapter_folder(path) / "adapter_config.json"
    peft = _peft()
    with refusing(f"{file} cannot be read"):
        # For a missing file, the library would ask the hub.
        json.loads(file.read_text())
        config = peft.PeftConfig.from_pretrained(str(file.parent))
        if getattr(config, "megatron_config", None):
            raise InvalidData(f"{file} asks for the modules of {config.megatron_core!r:.60}, which are not imported")
        if getattr(config, "prompt_tuning_init", None) is not None:
            config.prompt_tuning_init = "RANDOM"
        return config


def _refuse_idle(model: nn.Module, path: Path) -> None:
    """Raise if the forward does not use the weights of the adapter."""
    for module in model.modules():
        if getattr(module, "merged_adapters", None):
            raise InvalidData(
                f"{path} would not be seen: the network's adapter is merged into its weights; call unmerge_adapter()"
            )
        if getattr(module, "_disable_adapters", False):
            raise InvalidData(f"{path} would not be seen: the network's adapter is disabled; enable it")


def _active(model: Any, path: Path) -> str:
    """Return the name of the only active adapter."""
    active = model.active_adapter
    names = [active] if isinstance(active, str) else list(active)
    if len(names) != 1:
        raise InvalidData(f"{path} is one adapter, and the network has {', '.join(names)} active: set_adapter() of one")
    return str(names[0])


def _refuse_other_form(config: Any, path: Path) -> None:
    """Raise if the checkpoint's adapter scales or acts differently, which shapes do not show."""
    ours, theirs = _as_text(config.to_dict()), _as_text(_config(path).to_dict())
    differing = [key for key in ours if key in theirs and key not in _NOT_COMPARED and ours[key] != theirs[key]]
    if differing:
        differences = ", ".join(f"{key}={theirs[key]} and not {ours[key]}" for key in differing)
        raise WeightsMismatch(f"{path} does not fit the network's adapter: it was trained with {differences}")


def _as_text(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a configuration's values as text: sets in order, enumerations by value."""
    texts = {}
    for key, value in config.items():
        value = sorted(map(str, value)) if isinstance(value, set | list | tuple) else getattr(value, "value", value)
        texts[key] = "None" if value in ({}, [], None) else str(value)
    return texts


def _adapter_weights(model: Any, name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that PEFT saves of the network, and the embeddings if a checkpoint has them."""
    peft = _peft()
    weights = peft.get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    given = {_ending(key) for key in tensors if _is_plain(key)}
    if any("embed" in ending for ending in given) and hasattr(model, "get_input_embeddings"):
        with_embeddings = peft.get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=True)
        weights |= {key: value for key, value in with_embeddings.items() if _ending(key) in given}
    return {key: value for key, value in weights.items() if isinstance(value, Tensor)}


def _ending(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def _is_plain(name: str) -> bool:
    """Whether a weight in the checkpoint of an adapter is one of the network itself."""
    return bool(_PLAIN.search(name)) and not _OF_ADAPTER.search(name)


def _fit(weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> tuple[Fit, list[str]]:
    """Match names; return plain weights without a place too. Weights of the adapter itself must have one."""
    try:
        fit = best_fit(weights, tensors, str(path))
    except WeightsMismatch:
        plain = [key for key in tensors if _is_plain(key)]
        adapter = {key: value for key, value in tensors.items() if key not in plain}
        if not plain or not adapter or any(map(_is_plain, weights)):
            raise
        fit = best_fit(weights, adapter, str(path))
        return fit, [*plain, *fit.left_out]
    lost = [key for key in fit.left_out if _OF_ADAPTER.search(key)]
    if lost:
        raise WeightsMismatch(f"of {path}, {listed(lost, 3)} have no place in the network: it lacks the layers")
    return fit, list(fit.left_out)


def _same(loaded: Tensor, given: Tensor) -> bool:
    return torch.equal(loaded.detach().cpu(), given.to(loaded.dtype).cpu())


def _peft() -> Any:
    with from_extra("peft", "an adapter"):
        import peft
    return peft
