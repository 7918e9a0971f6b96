"""Networks from folders of PEFT: a base from the hub or a folder, with the adapter that was trained in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layerwise.adapters.poolers import without_random_pooler
from layerwise.adapters.remote_code import refusing_code
from layerwise.checkpoints.lora import load_adapter, with_adapter
from layerwise.checkpoints.read import read_tensors, weight_file
from layerwise.errors import InvalidData, LayerwiseError
from layerwise.runtime.progress import logger, others_bars
from layerwise.runtime.reading_errors import reason, refusing

__all__ = ["is_adapter_folder", "load_with_adapter"]

# The head of each of PEFT's tasks.
_TASKS = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
}
_HEADS = ("classifier", "score", "qa_outputs")


def is_adapter_folder(name: str) -> bool:
    """Whether a folder has an adapter and no whole network."""
    folder = Path(name).expanduser()
    return (folder / "adapter_config.json").is_file() and not (folder / "config.json").exists()


def load_with_adapter(name: str, trust_remote_code: bool = False) -> tuple[nn.Module, str]:
    """Load the base of an adapter with the adapter in it.

    Returns
    -------
    model : Module
    origin : str
        Where the tokenizer or the image processor is.

    Raises
    ------
    InvalidData
        If the folder names no base, the base cannot be loaded, or the folder has no weights of an adapter.
    WeightsMismatch
        If the adapter does not fit the base.
    """
    folder = Path(name).expanduser()
    config = _adapter_config(folder)
    file = weight_file(folder)
    if file is None:
        raise InvalidData(f"{folder} has the configuration of an adapter and no weights of one")
    tensors = read_tensors(file)
    base = _base(folder, config)
    # With a fixed seed, weights without stored values are the same after every load.
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model, missing = _loaded(base, folder, config, tensors, trust_remote_code)
        model = with_adapter(model, folder)
    left_out = load_adapter(model, tensors, folder)
    if left_out:
        logger.warning("%s has %s, for which the base %s has no place", folder, ", ".join(left_out), base)
    random = [item for item in missing if not any(item.endswith(_in_network(given)) for given in tensors)]
    if random:
        logger.warning(
            "neither the base %s nor the adapter %s has values for %s: they are random", base, folder, ", ".join(random)
        )
    has_preparation = any((folder / file).exists() for file in ("tokenizer_config.json", "preprocessor_config.json"))
    return model, str(folder) if has_preparation else base


def _adapter_config(folder: Path) -> dict[str, Any]:
    with refusing(f"{folder / 'adapter_config.json'} cannot be read"):
        config = json.loads((folder / "adapter_config.json").read_text())
    if not isinstance(config, dict) or not config.get("base_model_name_or_path"):
        raise InvalidData(
            f"{folder / 'adapter_config.json'} does not say which network the adapter is for: write its folder or hub "
            'id there as "base_model_name_or_path"'
        )
    return config


def _base(folder: Path, adapter_config: Mapping[str, Any]) -> str:
    """Return the path of the base, if it is relative to the adapter's folder or one above, else its name."""
    base = str(adapter_config["base_model_name_or_path"])
    if Path(base).expanduser().is_dir():
        return str(Path(base).expanduser())
    candidates = (around / base for around in (folder, *folder.absolute().parents))
    return next((str(path) for path in candidates if path.is_dir()), base)


def _class_for(adapter_config: Mapping[str, Any]) -> Any:
    """Return the class of transformers whose head an adapter was trained with."""
    import transformers

    mapping = adapter_config.get("auto_mapping")
    base_class = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    for name in (_TASKS.get(str(adapter_config.get("task_type"))), base_class):
        candidate = getattr(transformers, name, None) if isinstance(name, str) else None
        if isinstance(candidate, type) and (
            issubclass(candidate, transformers.PreTrainedModel) or str(name) in _TASKS.values()
        ):
            return candidate
    return transformers.AutoModel


def _loaded(
    base: str, folder: Path, adapter_config: Mapping[str, Any], tensors: Mapping[str, Tensor], trust_remote_code: bool
) -> tuple[nn.Module, list[str]]:
    """Load the base with the head of the adapter's task; return it and the names that have no stored values."""
    import transformers

    options = {"revision": adapter_config.get("revision") or "main", "trust_remote_code": trust_remote_code}
    try:
        with others_bars(), refusing_code(base):
            config = transformers.AutoConfig.from_pretrained(base, **options)
            count = _scores(tensors)
            if count is not None and count != config.num_labels:
                config.num_labels = count
            model, info = _class_for(adapter_config).from_pretrained(
                base, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
    except LayerwiseError:
        raise
    except Exception as error:
        raise InvalidData(
            f"the adapter {folder} is for the network {base!r:.200}, which cannot be loaded "
            f"({reason(error)}); bring it there, or write where it is into adapter_config.json as "
            '"base_model_name_or_path"'
        ) from error
    missing = [*info["missing_keys"], *(item[0] for item in info["mismatched_keys"])]
    model = without_random_pooler(model, missing)
    return model, sorted(set(missing) & model.state_dict().keys())


def _scores(tensors: Mapping[str, Tensor]) -> int | None:
    """Return the number of scores of the head that was trained with the adapter; None if there was no head."""
    sizes = [
        len(value)
        for name, value in tensors.items()
        if value.ndim == 2 and name.endswith(".weight") and any(part in _HEADS for part in name.split("."))
        if not any(part.startswith("lora_") for part in name.split(".")) and name.split(".")[-2] != "dense"
    ]
    return sizes[-1] if sizes else None


def _in_network(name: str) -> str:
    """Return the network's name of a weight that an adapter's checkpoint has."""
    return name.removeprefix("base_model.model.").removeprefix("base_model.")
