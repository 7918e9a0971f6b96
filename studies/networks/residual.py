"""A small residual network of convolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BasicBlock", "ResNet"]


class ResNet(nn.Module):
    """The residual network of He et al. 2016 for small pictures: three stages, each half as high and twice as wide.

    Parameters
    ----------
    classes : int
    blocks : int
        Of each stage; 9 make a ResNet-56.
    width : int
        Channels of the first stage.
    channels : int
        Of a picture.
    """

    def __init__(self, classes: int = 10, blocks: int = 3, width: int = 16, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, 1, blocks)
        self.layer2 = _stage(width, 2 * width, 2, blocks)
        self.layer3 = _stage(2 * width, 4 * width, 2, blocks)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Class scores, shape ``(n, classes)``, of pictures ``(n, channels, height, width)``."""
        hidden = functional.relu(self.bn1(self.conv1(pictures)))
        hidden = self.layer3(self.layer2(self.layer1(hidden)))
        scores: Tensor = self.linear(hidden.mean(dim=(2, 3)))
        return scores


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or width_in != width:
            self.shortcut.extend([nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)])

    def forward(self, hidden: Tensor) -> Tensor:
        """Of the same width, or twice as wide and half as high."""
        update = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(hidden)))))
        return functional.relu(update + self.shortcut(hidden))


def _stage(width_in: int, width: int, stride: int, blocks: int) -> nn.Sequential:
    rest = [BasicBlock(width, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(width_in, width, stride), *rest)
