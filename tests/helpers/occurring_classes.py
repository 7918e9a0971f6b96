"""Pictures and texts of many classes, few of which occur, and how many of them a plan counts."""

from __future__ import annotations

import torch
from helpers.networks import Perceptron
from helpers.positions import Tagger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from layerwise.network.resolve import find_network
from layerwise.passes.occurring_classes import held_classes
from layerwise.profiling.inputs import find_loaders
from layerwise.settings import Settings

WORDS = 5000


class Pictures(Dataset):
    """Labels that lie apart from the samples; counts the samples that are opened."""

    def __init__(self, samples: int = 600, words: int = 300, *, known: bool = True, shift: int = 0) -> None:
        self.inputs = torch.randn(samples, 8, generator=torch.Generator().manual_seed(samples))
        # Those of the first batches come again and again: an estimate from them is far too low.
        self.own = torch.cat([torch.arange(100) % 5, torch.arange(samples - 100) % words]) * 2 + shift
        self.opened = 0
        if known:
            self.targets = self.own.tolist()

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.opened += 1
        return self.inputs[index], int(self.own[index])


def network(classes: int = WORDS) -> nn.Module:
    torch.manual_seed(0)
    return Perceptron(classes=classes).eval()


def tokens(seed: int = 0) -> list[dict[str, Tensor]]:
    ids = torch.randint(0, 12, (10, 7), generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(7) < torch.tensor([[7], [4]]).repeat(5, 1)).long()
    return [{"input_ids": one, "attention_mask": own} for one, own in zip(ids, mask, strict=True)]


class Texts(nn.Module):
    """Takes the mask of its texts, too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tagger = Tagger()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.tagger(input_ids * attention_mask)


def texts(seed: int = 0, **options: object) -> DataLoader:
    return DataLoader(tokens(seed), batch_size=4, **options)


def held(model: nn.Module, data: object, **options: object) -> dict[str, int]:
    made, _ = find_network(model, None)
    found = find_loaders(data, made.model, made.adapter, 16)
    first = made.batch(next(iter(next(iter(found.splits.values())))))
    settings = Settings(**options)
    declared = {"label": settings.classes} if settings.classes else {}
    return held_classes(made, found.splits, first, list(first.labels), declared, settings, settings.ignored(0))
