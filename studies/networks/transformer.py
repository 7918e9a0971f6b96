"""Small transformers, on rows of word numbers and on pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["TextTransformer", "VisionTransformer"]


class TextTransformer(nn.Module):
    """Pre-norm transformer blocks over words, with a class token in front that the head reads.

    Parameters
    ----------
    words : int
        Word numbers are below it; 0 is padding, which no token attends to.
    classes : int
    length : int
        Words of a text.
    width, depth, heads : int
        Of the blocks.
    """

    def __init__(
        self, words: int, classes: int, length: int = 24, width: int = 64, depth: int = 4, heads: int = 4
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        self.class_token = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, words: Tensor) -> Tensor:
        """Class scores, shape ``(n, classes)``, of word numbers ``(n, length)``."""
        token = self.class_token.expand(len(words), 1, -1)
        hidden = torch.cat([token, self.words(words) + self.places], dim=1)
        real = torch.cat([words.new_ones(len(words), 1), words], dim=1) != 0
        for block in self.blocks:
            hidden = block(hidden, real)
        scores: Tensor = self.head(self.norm(hidden[:, 0]))
        return scores


class VisionTransformer(nn.Module):
    """Pre-norm transformer blocks over the patches of a picture, with a class token in front that the head reads.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of a picture; flat ones are brought to it.
    classes : int
    patch : int
        Height and width of a patch.
    width, depth, heads : int
        Of the blocks.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, patch: int, width: int = 64, depth: int = 4, heads: int = 4
    ) -> None:
        super().__init__()
        channels, *sides = self.shape = shape
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.places = nn.Parameter(0.02 * torch.randn(sides[0] // patch * (sides[1] // patch), width))
        self.class_token = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm: nn.Module = nn.LayerNorm(width)
        self.head: nn.Module = nn.Linear(width, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Class scores, shape ``(n, classes)``."""
        token = self.class_token.expand(len(pictures), 1, -1)
        patches = self.patches(pictures.reshape(-1, *self.shape)).flatten(2).transpose(1, 2)
        hidden = self.blocks(torch.cat([token, patches + self.places], dim=1))
        scores: Tensor = self.head(self.norm(hidden[:, 0]))
        return scores


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, hidden: Tensor, real: Tensor | None = None) -> Tensor:
        samples, tokens, width = hidden.shape
        packed = self.queries_keys_values(self.before(hidden)).view(samples, tokens, 3, self.heads, -1)
        queries, keys, values = packed.permute(2, 0, 3, 1, 4)
        seen = None if real is None else real[:, None, None, :]
        attended = nn.functional.scaled_dot_product_attention(queries, keys, values, seen)
        hidden = hidden + self.mixed(attended.transpose(1, 2).reshape(samples, tokens, width))
        update: Tensor = self.perceptron(self.between(hidden))
        return hidden + update
