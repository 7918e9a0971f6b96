"""Adapters of PEFT: checkpoints that hold a few weights beside those of a base network."""

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

from layerwise.checkpoints.match_names import Fit, WeightsMismatch, best_fit, some_names
from layerwise.errors import InvalidData
from layerwise.runtime.extras import from_extra
from layerwise.runtime.reading_errors import refusing

__all__ = ["adapter_folder", "has_adapter", "load_adapter", "with_adapter", "without_adapter"]

# What a configuration says beside the form of the adapter; names and shapes of weights say the rest.
_BESIDE = {
    *("base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "peft_version", "task_type"),
    *("target_modules", "exclude_modules", "modules_to_save", "init_lora_weights", "init_weights", "lora_dropout"),
    *("prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"),
    *("runtime_config", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "ensure_weight_tying"),
}

# Weights of a network itself, which PEFT saves beside those of an adapter: a head's, embeddings.
_PLAIN = re.compile(r"(^|\.)(weight|bias)$")
_OF_ADAPTER = re.compile(
    r"(^|\.)(lora|ia3|hada|boft|oft|vera|vblora|fourierft|hra|randlora|shira|adaption|prompt)_|prompt_e"
)


def adapter_folder(path: Path) -> Path:
    """The folder of a checkpoint that is one, or a file in it."""
    return path if path.is_dir() else path.parent


def has_adapter(path: Path) -> bool:
    """Whether a checkpoint is an adapter."""
    return adapter_folder(path).joinpath("adapter_config.json").exists()


def with_adapter(model: nn.Module, path: Path) -> nn.Module:
    """The network with an adapter of the form that a checkpoint asks for; the network is changed.

    Its weights are those with which a training begins: call `load_adapter` for the checkpoint's. A network that has
    adapters already is given back as it is.

    Raises
    ------
    InvalidData
        If the network has no layers of the names that adapters are asked for.
    MissingPackage
        If peft is not installed.
    """
    peft = _peft()
    if hasattr(model, "peft_config"):
        return model
    config = _config(path)
    config.base_model_name_or_path = model.__dict__.get("name_or_path")
    if config.task_type is not None and getattr(model, "base_model", None) is model:
        # Without a head the network does no task, and PEFT must not hand it the arguments of one.
        config.task_type = peft.TaskType.FEATURE_EXTRACTION if config.is_prompt_learning else None
    with refusing(f"the network cannot take the adapter {path}"):
        wrapped: nn.Module = peft.get_peft_model(model, config)
    return wrapped


def load_adapter(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> list[str]:
    """Put the weights of an adapter into a network that has one of the same form.

    Returns
    -------
    list of str
        Weights beside the adapter that the network has no place for, such as a head's.

    Raises
    ------
    InvalidData
        If the network has no adapter, or one that takes no part in the forward.
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
    _refuse_idle(model, path)
    name = _active(model, path)
    _refuse_other_form(model.peft_config[name], path)
    own = _own(model, name, tensors)
    fit, left_out = _fit(own, tensors, path)
    named = {mine: tensors[other] for mine, other in fit.pairs.items()}
    peft.set_peft_model_state_dict(model, dict(named), adapter_name=name)
    there = _own(model, name, tensors)
    lost = [mine for mine, value in named.items() if not _same(there[mine], value)]
    if lost:
        raise WeightsMismatch(f"of {path}, {some_names(lost)} did not get into the network")
    return left_out


@contextmanager
def without_adapter(model: Any) -> Iterator[None]:
    """Run the network as it was before it got an adapter, if it has one."""
    configs = getattr(model, "peft_config", None)
    if not configs:
        yield
    elif not any(config.is_prompt_learning for config in configs.values()):
        with model.disable_adapter():
            yield
    else:
        # PEFT's own way is for networks that generate text.
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
    """What an adapter's folder says of its form, without what would run code of others.

    Weights that a prompt is tuned from are replaced by the trained ones, so that no tokenizer is loaded for them.
    """
    file = adapter_folder(path) / "adapter_config.json"
    peft = _peft()
    with refusing(f"{file} cannot be read"):
        # The library would ask the hub for what is not there.
        json.loads(file.read_text())
        config = peft.PeftConfig.from_pretrained(str(file.parent))
        if getattr(config, "megatron_config", None):
            raise InvalidData(f"{file} asks for the modules of {config.megatron_core!r:.60}, which are not imported")
        if getattr(config, "prompt_tuning_init", None) is not None:
            config.prompt_tuning_init = "RANDOM"
        return config


def _refuse_idle(model: nn.Module, path: Path) -> None:
    """Raise if what is loaded into the adapter would not be seen."""
    for module in model.modules():
        if getattr(module, "merged_adapters", None):
            raise InvalidData(
                f"{path} would not be seen: the network's adapter is merged into its weights; call unmerge_adapter()"
            )
        if getattr(module, "_disable_adapters", False):
            raise InvalidData(f"{path} would not be seen: the network's adapter is disabled; enable it")


def _active(model: Any, path: Path) -> str:
    active = model.active_adapter
    names = [active] if isinstance(active, str) else list(active)
    if len(names) != 1:
        raise InvalidData(f"{path} is one adapter, and the network has {', '.join(names)} active: set_adapter() of one")
    return str(names[0])


def _refuse_other_form(own: Any, path: Path) -> None:
    """Raise if the adapter scales or acts otherwise; shapes alone do not tell."""
    mine, theirs = _plain(own.to_dict()), _plain(_config(path).to_dict())
    differing = [key for key in mine if key in theirs and key not in _BESIDE and mine[key] != theirs[key]]
    if differing:
        said = ", ".join(f"{key}={theirs[key]} and not {mine[key]}" for key in differing)
        raise WeightsMismatch(f"{path} does not fit the network's adapter: it was trained with {said}")


def _plain(config: Mapping[str, Any]) -> dict[str, str]:
    """A configuration's values as text, sets in order, enumerations by value."""
    found = {}
    for key, value in config.items():
        value = sorted(map(str, value)) if isinstance(value, set | list | tuple) else getattr(value, "value", value)
        found[key] = "None" if value in ({}, [], None) else str(value)
    return found


def _own(model: Any, name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What PEFT would save of the network, by its names; with the embeddings that a checkpoint has."""
    peft = _peft()
    own = peft.get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    given = {_ending(key) for key in tensors if _PLAIN.search(key) and not _OF_ADAPTER.search(key)}
    if any("embed" in ending for ending in given) and hasattr(model, "get_input_embeddings"):
        every = peft.get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=True)
        own |= {key: value for key, value in every.items() if _ending(key) in given}
    return {key: value for key, value in own.items() if isinstance(value, Tensor)}


def _ending(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def _fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> tuple[Fit, list[str]]:
    """How the names meet, and plain weights that have no place; those of the adapter itself must have one."""
    try:
        fit = best_fit(own, tensors, str(path))
    except WeightsMismatch:
        plain = [key for key in tensors if _PLAIN.search(key) and not _OF_ADAPTER.search(key)]
        adapter = {key: value for key, value in tensors.items() if key not in plain}
        if not plain or not adapter:
            raise
        own_adapter = {key: value for key, value in own.items() if not _PLAIN.search(key) or _OF_ADAPTER.search(key)}
        if own_adapter.keys() != own.keys():
            raise
        fit = best_fit(own, adapter, str(path))
        return fit, [*plain, *fit.left_out]
    lost = [key for key in fit.left_out if _OF_ADAPTER.search(key)]
    if lost:
        raise WeightsMismatch(f"of {path}, {some_names(lost)} have no place in the network: it lacks the layers")
    return fit, list(fit.left_out)


def _same(own: Tensor, given: Tensor) -> bool:
    return torch.equal(own.detach().cpu(), given.to(own.dtype).cpu())


def _peft() -> Any:
    with from_extra("peft", "an adapter"):
        import peft
    return peft
