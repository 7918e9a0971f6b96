"""Real trained networks, as `layerwise profile tests.real.networks:resnet56 DATA` takes them."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from .fetch import folder

__all__ = ["MINILM", "SMOLLM2", "SMOLLM2_FILE", "efficientnet_lite0", "minilm", "resnet56", "smollm2"]

#: The folders of all-MiniLM-L6-v2, in Hugging Face's format, and of SmolLM2-135M-Instruct, one GGUF file.
MINILM = folder() / "minilm"
SMOLLM2 = folder() / "smollm2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes (option B of He 2016)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or width_in != width:
            self.shortcut.extend([nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)])

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(inner + self.shortcut(x))


class ResNet(nn.Module):
    """The residual network for CIFAR-10 of He 2016: three stages of `blocks` blocks, widths 16, 32 and 64."""

    def __init__(self, blocks: int = 9) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, 1, blocks)
        self.layer2 = _stage(16, 32, 2, blocks)
        self.layer3 = _stage(32, 64, 2, blocks)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


def _stage(width_in: int, width: int, stride: int, blocks: int) -> nn.Sequential:
    rest = [BasicBlock(width, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(width_in, width, stride), *rest)


def resnet56() -> nn.Module:
    """A CIFAR-10 ResNet-56 trained to zero error on its first 45,000 training images; inputs in [0, 1]."""
    # The file is a pickled module: only the classes named here may be built from it.
    allowed = [nn.Conv2d, nn.BatchNorm2d, nn.Sequential, nn.Linear, nn.Identity]
    named = [(ResNet, "resnet.ResNet"), (BasicBlock, "resnet.BasicBlock")]
    with torch.serialization.safe_globals([*allowed, *named]):
        pickled = torch.load(folder() / "resnet56_cifar10.pth", map_location="cpu", weights_only=True)
    network = ResNet()
    network.load_state_dict(pickled.state_dict())
    return network.eval()


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
