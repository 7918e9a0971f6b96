"""Networks with several heads: each has its own input and its own logits, and no part of a block is one."""

from __future__ import annotations

import pytest
import timm
import torch
from helpers.traced_networks import ResidualMLP, mlp
from torch import Tensor, nn

from layerwise.network.graph.blocks import find_blocks
from layerwise.network.graph.classifiers import classifiers_of
from layerwise.network.graph.records import Trace
from layerwise.network.graph.trace import trace
from layerwise.profiling import profile


class TwoHeads(nn.Module):
    """Class scores and a number, as the caller wants them put together."""

    def __init__(self, together: str) -> None:
        super().__init__()
        self.body, self.together = mlp(5, 8, 8), together
        self.scores, self.other = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> object:
        x = self.body(x)
        scores, other = self.scores(x), self.other(x.tanh())
        return {
            "tuple": (scores, other),
            "mapping": {"scores": scores, "other": other},
            "mean": (scores + other) / 2,
            "stack": torch.stack([scores, other]).mean(0),
        }[self.together]


def traced(net: nn.Module, *inputs: Tensor) -> Trace:
    return trace(net, lambda: net(*inputs))


@pytest.mark.parametrize("together", ["tuple", "mapping", "mean", "stack"])
def test_each_of_two_heads_has_its_input_and_its_logits(together: str) -> None:
    layers = find_blocks(traced(TwoHeads(together), torch.ones(2, 5)))
    assert [(layer.name, layer.role) for layer in layers] == [
        ("body.1", "block"),
        ("body.2", "features"),
        ("scores", "logits"),
        ("other:input", "features"),
        ("other", "logits"),
    ]


def test_a_named_head_is_the_only_one() -> None:
    calls = classifiers_of(traced(TwoHeads("tuple"), torch.ones(2, 5)), "other")
    assert [call.path for call in calls] == ["other"]


def test_a_residual_sum_at_the_end_is_no_pair_of_heads() -> None:
    net = ResidualMLP()
    net.head = nn.Identity()
    assert classifiers_of(traced(net, torch.ones(2, 5))) == []


def test_both_heads_of_a_distilled_transformer_are_found() -> None:
    with torch.device("meta"):
        net = timm.create_model("deit_tiny_distilled_patch16_224", depth=1)
        pictures = torch.empty(2, 3, 224, 224)
    layers = find_blocks(traced(net, pictures))
    assert [(layer.name, layer.role) for layer in layers[-4:]] == [
        *(("head:input", "features"), ("head_dist:input", "features")),
        *(("head", "logits"), ("head_dist", "logits")),
    ]


def test_a_classifier_on_whole_numbers_has_no_features() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 3))

        def forward(self, numbers: Tensor) -> Tensor:
            return numbers.float() @ self.weight

    net = nn.Sequential(Counting())
    assert [(layer.name, layer.role) for layer in find_blocks(traced(net, torch.ones(2, 4).long()))] == [
        ("0", "logits")
    ]
    ds = profile(net, [(torch.arange(24).reshape(6, 4), torch.arange(6) % 3)], metrics="nc1")
    assert list(ds["layer"].values) == ["0"]


def test_a_map_before_pooling_and_a_norm_is_no_classifier() -> None:
    class RootMeanSquare(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()

    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.project, self.norm = mlp(5, 8, 8), nn.Linear(8, 6), RootMeanSquare()

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.project(self.body(x)).mean(1))

    assert classifiers_of(traced(Projected(), torch.ones(2, 4, 5))) == []
