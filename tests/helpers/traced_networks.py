"""Plain networks for the tests of traces and blocks: each has a trap that some rule for finding blocks falls into."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(*widths: int) -> nn.Sequential:
    """Linear maps with ReLU between them."""
    layers: list[nn.Module] = []
    for width, after in pairwise(widths):
        layers += [nn.Linear(width, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def double_convolution(width: int, after: int) -> nn.Sequential:
    """Twice convolution, norm and in-place ReLU."""
    return nn.Sequential(
        nn.Conv2d(width, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class LoopedMLP(nn.Module):
    """A list in a loop, with a functional activation."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.head(x)


class ResidualMLP(nn.Module):
    """The stream is a sum that no module gives: only the next module's input is it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 8)
        self.blocks = nn.ModuleList([mlp(8, 16, 8) for _ in range(3)])
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class Functional(nn.Module):
    """Named parts, functional activations and pools, one residual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc1 = nn.Linear(64, 32)
        self.fc2 = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = x + F.relu(self.conv2(x))
        x = F.max_pool2d(F.relu(self.conv3(x)), 4)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class UNet(nn.Module):
    """Long skips round everything but the outermost blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = double_convolution(3, 4), double_convolution(4, 8)
        self.middle = double_convolution(8, 16)
        self.rise2, self.rise1 = nn.ConvTranspose2d(16, 8, 2, 2), nn.ConvTranspose2d(8, 4, 2, 2)
        self.up2, self.up1 = double_convolution(16, 8), double_convolution(8, 4)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        x = self.middle(F.max_pool2d(second, 2))
        x = self.up2(torch.cat([second, self.rise2(x)], 1))
        return self.out(self.up1(torch.cat([first, self.rise1(x)], 1)))


class TwoTowers(nn.Module):
    """Two inputs, each with a tower of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = mlp(5, 8, 8, 8), mlp(6, 8, 8, 8)
        self.head = nn.Linear(16, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(torch.cat([self.left(left), self.right(right)], 1))


class Recurrent(nn.Module):
    """One cell, called once a token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.cell = nn.GRUCell(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        state = x.new_zeros(len(x), 16)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.head(state)


class Branches(nn.Module):
    """Two lists side by side, joined by a sum: parallel, not deep."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = mlp(8, 8, 8), mlp(8, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)


class Gated(nn.Module):
    """A list inside a residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(mlp(8, 16, 8), mlp(8, 16, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Structured(nn.Module):
    """Gives the stream second, and weights that lead nowhere first."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.other = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor, extra: Tensor | None = None) -> dict[str, object]:
        return {"weights": self.other(x), "stream": (torch.relu(self.linear(x)) + x,)}


class StructuredStack(nn.Module):
    """Passes on one entry of what its blocks give, by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Structured() for _ in range(3)])
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x=x)["stream"][0]
        return self.head(x)


class Convolved(nn.Module):
    """A residual block of one size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class TwoStreamBlock(nn.Module):
    """Two streams that look at one another."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.layout = nn.Linear(8, 8), nn.Linear(8, 4)
        self.between = nn.Linear(4, 8)

    def forward(self, text: Tensor, layout: Tensor) -> tuple[Tensor, Tensor]:
        return text + self.text(text) + self.between(layout), layout + self.layout(text)


class TwoStreams(nn.Module):
    """Ends with its first stream alone."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([TwoStreamBlock(), TwoStreamBlock()])

    def forward(self, x: Tensor) -> Tensor:
        streams = (x, x[:, :4])
        for block in self.blocks:
            streams = block(*streams)
        return streams[0]


class CrossStage(nn.Module):
    """Half of its features go round its blocks, and are put beside what these give."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.behind = nn.Linear(8, 8), nn.Linear(4, 4)
        self.blocks = nn.Sequential(mlp(4, 8, 4), mlp(4, 8, 4))
        self.mix = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.before(x).chunk(2, 1)
        return self.mix(torch.cat([left, self.behind(self.blocks(right))], 1))


class Restorer(nn.Module):
    """One residual round all of its blocks, as networks that restore pictures have."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Linear(5, 8), nn.Linear(8, 8)
        self.blocks = nn.ModuleList([Gated() for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return first + self.last(x)


class Turn(nn.Module):
    """A residual block that looks at something else as well."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.look = mlp(8, 16, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor, aside: Tensor) -> Tensor:
        x = x + self.look(aside)
        return x + self.inner(x)


class Refining(nn.Module):
    """A decoder that moves its boxes from layer to layer, and gives what every layer said."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.boxes, self.position = nn.Linear(5, 8), nn.Linear(5, 4), nn.Linear(4, 8)
        self.layers = nn.ModuleList([Turn() for _ in range(3)])
        self.move = mlp(8, 8, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        boxes, x = self.boxes(x), self.stem(x)
        every = []
        for layer in self.layers:
            x = layer(x, self.position(boxes))
            boxes = boxes + self.move(x)
            every.append(x)
        return {"last": x, "every": torch.stack(every, 1), "boxes": boxes}


class Reminded(nn.Module):
    """Its blocks run twice, and are given the input again in between."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 8)
        self.blocks = nn.ModuleList([Gated() for _ in range(2)])
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.stem(x)
        for turn in range(2):
            x = x if turn == 0 else x + first
            for block in self.blocks:
                x = block(x)
        return self.head(x)


class OneOfTwo(nn.Module):
    """Has a large tower for pictures, and a small one for texts, which alone runs."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.text = mlp(*[8] * 20), nn.Sequential(Gated(), Gated())

    def forward(self, x: Tensor) -> Tensor:
        return self.text(x)


def stack(block: type[nn.Module], count: int = 3) -> nn.Sequential:
    """A few blocks of one class, then a classifier."""
    return nn.Sequential(*[block() for _ in range(count)], nn.Linear(8, 3))
