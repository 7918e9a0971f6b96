"""A caller chooses layers by word, name, glob or function."""

from __future__ import annotations

import pytest
import torch
import torchvision
from helpers.found_blocks import names
from torch import Tensor, nn

from layerwise.errors import LayerNeverFired, UnknownName
from layerwise.network.graph.blocks import all_calls, choose, find_stages, leaves
from layerwise.network.graph.records import Trace
from layerwise.network.graph.trace import trace


@pytest.fixture(scope="module")
def resnet() -> Trace:
    net = torchvision.models.resnet18()
    return trace(net, lambda: net(torch.ones(1, 3, 64, 64)))


class TestChoosing:
    def test_stages_end_with_their_last_block(self, resnet: Trace) -> None:
        expected = ["layer1.1", "layer2.1", "layer3.1", "layer4.1", "fc:input", "fc"]
        assert names(find_stages(resnet)) == names(choose(resnet, "stages")) == expected

    def test_leaves_are_the_calls_of_childless_modules(self, resnet: Trace) -> None:
        assert {layer.kind for layer in leaves(resnet)} == {
            *("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "AdaptiveAvgPool2d", "Linear"),
        }
        assert names(leaves(resnet))[:3] == ["conv1", "bn1", "relu"]

    def test_idle_branches_are_listed_in_the_order_in_which_they_ran(self) -> None:
        class Idle(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.left, self.right, self.head = nn.Identity(), nn.Sequential(nn.Identity()), nn.Linear(8, 3)

            def forward(self, x: Tensor) -> Tensor:
                return self.head(self.left(x) + self.right(x))

        net = Idle()
        found = trace(net, lambda: net(torch.ones(2, 8)))
        assert names(leaves(found)) == ["left", "right.0", "head"]
        assert names(all_calls(found)) == ["left", "right.0", "right", "head", "Idle"]

    def test_all_calls_list_parents_after_children(self, resnet: Trace) -> None:
        found = names(all_calls(resnet))
        assert found.index("layer1.0.conv2") < found.index("layer1.0.relu#2") < found.index("layer1.0")
        assert found[-1] == "ResNet"

    def test_a_glob_matches_blocks_first(self, resnet: Trace) -> None:
        assert names(choose(resnet, "layer3.*")) == ["layer3.0", "layer3.1"]
        assert names(choose(resnet, "layer3.*.conv1")) == ["layer3.0.conv1", "layer3.1.conv1"]

    def test_names_words_and_globs_together_come_in_execution_order_and_once(self, resnet: Trace) -> None:
        assert names(choose(resnet, ["fc", "layer4.*", "layer1.0.conv1", "stages", "layer4.0"])) == [
            *("layer1.0.conv1", "layer1.1", "layer2.1", "layer3.1", "layer4.0", "layer4.1", "fc:input", "fc"),
        ]

    def test_the_input_of_any_module_can_be_chosen(self, resnet: Trace) -> None:
        (layer,) = choose(resnet, "layer2.0:input")
        assert (layer.side, layer.item, layer.shape) == ("input", (0,), (64, 16, 16))

    def test_a_function_sees_roles(self, resnet: Trace) -> None:
        assert names(choose(resnet, lambda layer: layer.role in ("features", "logits"))) == ["fc:input", "fc"]

    def test_an_unknown_name_is_an_error_with_the_nearest_layer(self, resnet: Trace) -> None:
        with pytest.raises(UnknownName, match=r"layer1\.2.*nearest: layer1\."):
            choose(resnet, "layer1.2")

    def test_a_module_that_never_runs_is_not_an_unknown_one(self) -> None:
        net = nn.MultiheadAttention(8, 2)
        net.norm = nn.LayerNorm(8)
        x = torch.ones(3, 2, 8)
        with pytest.raises(LayerNeverFired, match="never called"):
            choose(trace(net, lambda: net(x, x, x)), "norm")
