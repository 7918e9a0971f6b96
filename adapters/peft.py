"""Networks that a folder of PEFT's names: a base from the hub or a folder, and the adapter that was trained in it."""

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
    """Whether a folder holds an adapter and no whole network."""
    folder = Path(name).expanduser()
    return (folder / "adapter_config.json").is_file() and not (folder / "config.json").exists()


def load_with_adapter(name: str, trust_remote_code: bool = False) -> tuple[nn.Module, str]:
    """The base of an adapter with the adapter in it, and where its tokenizer or image processor is.

    Raises
    ------
    InvalidData
        If the folder names no base, the base is not to be had, or the weights of the adapter are not there.
    WeightsMismatch
        If the adapter does not fit the base.
    """
    folder = Path(name).expanduser()
    said = _said(folder)
    file = weight_file(folder)
    if file is None:
        raise InvalidData(f"{folder} has the configuration of an adapter and no weights of one")
    tensors = read_tensors(file)
    base = _base(folder, said)
    # What nobody has values for is at least the same from load to load.
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model, missing = _loaded(base, folder, said, tensors, trust_remote_code)
        model = with_adapter(model, folder)
    left_out = load_adapter(model, tensors, folder)
    if left_out:
        logger.warning("%s has %s, for which the base %s has no place", folder, ", ".join(left_out), base)
    random = [item for item in missing if not any(item.endswith(_in_network(given)) for given in tensors)]
    if random:
        logger.warning(
            "neither the base %s nor the adapter %s has values for %s: they are random", base, folder, ", ".join(random)
        )
    own = any((folder / file).exists() for file in ("tokenizer_config.json", "preprocessor_config.json"))
    return model, str(folder) if own else base


def _said(folder: Path) -> dict[str, Any]:
    with refusing(f"{folder / 'adapter_config.json'} cannot be read"):
        said = json.loads((folder / "adapter_config.json").read_text())
    if not isinstance(said, dict) or not said.get("base_model_name_or_path"):
        raise InvalidData(
            f"{folder / 'adapter_config.json'} does not say which network the adapter is for: write its folder or hub "
            'id there as "base_model_name_or_path"'
        )
    return said


def _base(folder: Path, said: Mapping[str, Any]) -> str:
    """Where the base is; a relative path may be meant from the folder of the adapter, or from one around it."""
    base = str(said["base_model_name_or_path"])
    if Path(base).expanduser().is_dir():
        return str(Path(base).expanduser())
    beside = (around / base for around in (folder, *folder.absolute().parents))
    return next((str(path) for path in beside if path.is_dir()), base)


def _class_for(said: Mapping[str, Any]) -> Any:
    """The class of transformers that an adapter was trained in the head of."""
    import transformers

    mapping = said.get("auto_mapping")
    own = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    for name in (_TASKS.get(str(said.get("task_type"))), own):
        found = getattr(transformers, name, None) if isinstance(name, str) else None
        if isinstance(found, type) and (
            issubclass(found, transformers.PreTrainedModel) or str(name) in _TASKS.values()
        ):
            return found
    return transformers.AutoModel


def _loaded(
    base: str, folder: Path, said: Mapping[str, Any], tensors: Mapping[str, Tensor], trust_remote_code: bool
) -> tuple[nn.Module, list[str]]:
    """The base with the head of the adapter's task, and the names of what it has no values for."""
    import transformers

    options = {"revision": said.get("revision") or "main", "trust_remote_code": trust_remote_code}
    try:
        with others_bars(), refusing_code(base):
            config = transformers.AutoConfig.from_pretrained(base, **options)
            count = _scores(tensors)
            if count is not None and count != config.num_labels:
                config.num_labels = count
            model, info = _class_for(said).from_pretrained(
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
    """How many scores the head gives that was trained with the adapter; None where none was."""
    found = [
        len(value)
        for name, value in tensors.items()
        if value.ndim == 2 and name.endswith(".weight") and any(part in _HEADS for part in name.split("."))
        if not any(part.startswith("lora_") for part in name.split(".")) and name.split(".")[-2] != "dense"
    ]
    return found[-1] if found else None


def _in_network(name: str) -> str:
    """An adapter's name for a weight of the network itself, as the network calls it."""
    return name.removeprefix("base_model.model.").removeprefix("base_model.")
