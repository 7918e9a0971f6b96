"""Networks with a class for every token or pixel, and batches for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VOCABULARY, TOKENS = 12, 7


class Tagger(nn.Module):
    """Token embeddings, two blocks and a class for every token."""

    def __init__(self, classes: int = 3, width: int = 6) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(2)))
        self.classifier = nn.Linear(width, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.classifier(self.blocks(self.embedding(input_ids)))


class Segmenter(nn.Module):
    """A block at full resolution, one at half of it, and a class for every pixel of that."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv2d(5, 4, 3, stride=2, padding=1), nn.ReLU())
        self.classifier = nn.Conv2d(4, classes, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.coarse(self.fine(inputs)))


def texts(count: int = 24, side: str = "right", seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, their mask and a label each that depends on the token; padding has labels too, which are no labels."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCABULARY, (count, TOKENS), generator=generator)
    labels = (ids + torch.randint(0, 2, ids.shape, generator=generator)) % 3
    labels[torch.rand(ids.shape, generator=generator) < 0.2] = -100
    lengths = torch.randint(2, TOKENS + 1, (count, 1), generator=generator)
    mask = (torch.arange(TOKENS) < lengths).long()
    return ids, mask if side == "right" else mask.flip(1), labels


def of_texts(ids: Tensor, mask: Tensor, labels: Tensor, size: int = 5) -> list[dict[str, Tensor]]:
    parts = zip(ids.split(size), mask.split(size), labels.split(size), strict=True)
    return [{"input_ids": one, "attention_mask": two, "labels": three} for one, two, three in parts]


def pictures(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (count, 8, 10), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    return torch.randn(count, 3, 8, 10, generator=generator) + labels[:, None].clamp_max(3) / 2, labels


def of_pictures(inputs: Tensor, labels: Tensor, size: int = 4) -> list[tuple[Tensor, Tensor]]:
    return list(zip(inputs.split(size), labels.split(size), strict=True))
