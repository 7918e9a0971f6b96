"""Real trained networks, as `layerwise profile tests.real.networks:resnet56 DATA` takes them."""

from __future__ import annotations

import timm
from torch import nn

from layerwise.studies.networks.pretrained import resnet56

from .fetch import folder

__all__ = ["MINILM", "SMOLLM2", "SMOLLM2_FILE", "efficientnet_lite0", "minilm", "resnet56", "smollm2"]

#: The folders of all-MiniLM-L6-v2, in Hugging Face's format, and of SmolLM2-135M-Instruct, one GGUF file.
MINILM = folder() / "minilm"
SMOLLM2 = folder() / "smollm2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def efficientnet_lite0() -> nn.Module:
    """ImageNet-1k EfficientNet-Lite0 with its trained weights, as timm builds it."""
    weights = folder() / "efficientnet_lite0.safetensors"
    overlay = {"file": str(weights)}
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=True, pretrained_cfg_overlay=overlay)
    return network.eval()


def minilm() -> nn.Module:
    """all-MiniLM-L6-v2: a BERT of 6 layers and width 384; its tokenizer is in the folder `MINILM`."""
    from transformers import AutoModel

    network: nn.Module = AutoModel.from_pretrained(MINILM)
    return network.eval()


def smollm2() -> nn.Module:
    """SmolLM2-135M-Instruct: a Llama decoder of 30 layers, its 4-bit weights unpacked."""
    from transformers import AutoModelForCausalLM

    network: nn.Module = AutoModelForCausalLM.from_pretrained(SMOLLM2, gguf_file=SMOLLM2_FILE)
    return network.eval()
