"""Handwritten digits as loaders, and networks that learn them within seconds."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

__all__ = ["network", "probes", "tensors", "training", "vit"]


def tensors(train: bool) -> tuple[Tensor, Tensor]:
    digits = load_digits()
    rows = slice(0, 1000) if train else slice(1000, 1400)
    return torch.tensor(digits.data[rows] / 16, dtype=torch.float32), torch.tensor(digits.target[rows])


def training(batch_size: int = 100) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*tensors(True)), batch_size, shuffle=True)


def probes() -> dict[str, DataLoader[Any]]:
    return {
        "train": DataLoader(TensorDataset(*tensors(True)), 500),
        "test": DataLoader(TensorDataset(*tensors(False)), 500),
    }


def network() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1)) for _ in range(3)]
    return nn.Sequential(*blocks, nn.Linear(64, 10))


def vit() -> Any:
    """A network whose checkpoints have other names for its tensors than the network itself."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=10, **sizes)
    return transformers.ViTForImageClassification(config)
