"""The metrics of a head hold at every layer whose features the head reads, and at no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from layerwise.profiling import profile

CLASSES = 4


class Pooled(nn.Module):
    """Maps, pooled and normed in front of the head; a second head reads what the norm reads."""

    def __init__(self, outputs: str) -> None:
        super().__init__()
        self.outputs = outputs
        self.conv, self.act = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        self.pool, self.norm, self.drop = nn.AdaptiveAvgPool2d(1), nn.LayerNorm(8), nn.Dropout()
        self.fc, self.aside = nn.Linear(8, CLASSES), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        pooled = self.pool(self.act(self.conv(x))).flatten(1)
        scores = self.fc(self.drop(self.norm(pooled)))
        return scores if self.outputs == "one" else {"fine": scores, "size": self.aside(pooled)}


@pytest.fixture
def inputs() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(60, 3, 6, 6)


def by_hand(features: Tensor, labels: Tensor, weight: Tensor) -> float:
    means = np.stack([features[labels == c].double().mean(0).numpy() for c in range(CLASSES)])
    means, rows = means - means.mean(0), weight.detach().double().numpy()
    return float(((rows / np.linalg.norm(rows) - means / np.linalg.norm(means)) ** 2).sum())


@pytest.mark.parametrize("layers", ["fc:input", "norm", "drop", "leaves", "all", "blocks"])
def test_self_duality_holds_where_the_classifier_reads_the_layer(inputs, layers):
    net, labels = Pooled("one").eval(), torch.arange(60) % CLASSES
    found = profile(net, [(inputs, labels)], layers=layers, metrics="self_duality")["self_duality"].squeeze()
    known = {str(name) for name in np.atleast_1d(found["layer"])[np.atleast_1d(found.notnull())]}
    assert known == {"leaves": {"norm", "drop"}, "all": {"norm", "drop"}, "blocks": {"fc:input"}}.get(layers, {layers})
    with torch.no_grad():
        read = net.norm(net.conv(inputs).relu().mean((2, 3)))
    values = found.values[found.notnull().values]
    np.testing.assert_allclose(values, by_hand(read, labels, net.fc.weight), rtol=1e-5)


def test_each_of_several_heads_has_the_layers_that_it_reads(inputs):
    net = Pooled("two").eval()
    labels = {"fine": torch.arange(60) % CLASSES, "size": inputs.mean((2, 3))[:, :2].double()}
    ds = profile(net, [(inputs, labels)], layers="leaves", metrics=["self_duality", "nrc3"])
    for target, metric, layers in (("fine", "self_duality", {"norm", "drop"}), ("size", "nrc3", {"act", "pool"})):
        found = ds[metric].sel(target=target).squeeze()
        assert {str(name) for name in found["layer"][found.notnull()].values} == layers, metric


def test_a_layer_with_another_pooling_does_not_feed_the_head(inputs):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))
    labels = torch.arange(60) % CLASSES
    known = {
        how: profile(net, [(inputs, labels)], layers=["0"], reduce=how, metrics="self_duality")["self_duality"]
        .notnull()
        .item()
        for how in ("auto", "gap", "max")
    }
    assert known == {"auto": True, "gap": True, "max": False}
