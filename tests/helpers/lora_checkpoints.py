"""Small trained adapters of every kind, and what they do to the networks that they were trained in."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

__all__ = ["INPUTS", "KINDS", "Kind", "bert", "hidden", "llama", "trained"]

TINY = {
    "vocab_size": 100,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
INPUTS = {"input_ids": torch.arange(3, 13)[None], "attention_mask": torch.ones(1, 10, dtype=torch.long)}


def bert(kind: str = "BertForSequenceClassification", **options: Any) -> Any:
    torch.manual_seed(0)
    return getattr(transformers, kind)(transformers.BertConfig(**TINY, **options)).eval()


def llama(kind: str = "LlamaForCausalLM") -> Any:
    torch.manual_seed(0)
    return getattr(transformers, kind)(transformers.LlamaConfig(**TINY)).eval()


@dataclass(frozen=True)
class Kind:
    """A configuration of PEFT's, the network that it is for, and what of it a bare encoder has no place for."""

    make: Callable[[], Any]
    config: str
    options: dict[str, Any]
    left_out: tuple[str, ...] = ("classifier.bias", "classifier.weight")


_SEQUENCE = {"task_type": "SEQ_CLS"}
_QUERY = {"r": 4, "target_modules": ["query", "value"]}
_CAUSAL = {"task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj"]}

KINDS = {
    "lora": Kind(bert, "LoraConfig", {**_SEQUENCE, **_QUERY}),
    "dora": Kind(bert, "LoraConfig", {**_SEQUENCE, **_QUERY, "use_dora": True}),
    "lora without a task": Kind(bert, "LoraConfig", {**_QUERY, "modules_to_save": ["classifier"]}),
    "lora of a tagger": Kind(
        lambda: bert("BertForTokenClassification"), "LoraConfig", {"task_type": "TOKEN_CLS", **_QUERY}
    ),
    "ia3": Kind(
        bert,
        "IA3Config",
        {**_SEQUENCE, "target_modules": ["key", "output.dense"], "feedforward_modules": ["output.dense"]},
    ),
    "prompt": Kind(
        bert,
        "PromptTuningConfig",
        {**_SEQUENCE, "num_virtual_tokens": 4},
        ("base_model.classifier.bias", "base_model.classifier.weight"),
    ),
    "layer norm": Kind(bert, "LNTuningConfig", {**_SEQUENCE, "target_modules": ["LayerNorm"]}),
    "decoder": Kind(llama, "LoraConfig", _CAUSAL, ()),
    "decoder and embeddings": Kind(
        llama, "LoraConfig", {**_CAUSAL, "modules_to_save": ["embed_tokens", "lm_head"]}, ("lm_head.weight",)
    ),
    "prefix": Kind(llama, "PrefixTuningConfig", {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4}, ()),
}


def trained(kind: Kind, folder: Path, seed: int = 1) -> Any:
    """The network with an adapter of random weights, which is saved."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(kind.make(), getattr(peft, kind.config)(**copy.deepcopy(kind.options)))
        torch.manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.add_(0.3 * torch.randn_like(weight))
        model.save_pretrained(folder, save_embedding_layers=False)
    return model.eval()


def hidden(model: Any) -> Tensor:
    """The last hidden states for `INPUTS`."""
    with torch.no_grad():
        return model(**INPUTS, output_hidden_states=True).hidden_states[-1]
