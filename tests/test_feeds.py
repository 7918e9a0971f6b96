"""Which linear map reads a layer, and its weight as a matrix on the layer's features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from layerwise.feeds import named_heads, next_linear, weight_matrix
from layerwise.layers import Layer
from layerwise.trace import trace


def feeds(net: nn.Module, layers: list[Layer], *shape: int) -> dict[str, str]:
    return next_linear(trace(net, lambda: net(torch.randn(2, *shape))), layers)


class TestReader:
    def test_norms_activations_and_dropout_are_looked_through(self):
        net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(5, 3))
        assert feeds(net, [Layer("0"), Layer("2"), Layer("4")], 4) == {"0": "4", "2": "4"}

    def test_a_layer_feeds_the_first_map_that_reads_it_not_one_further_on(self):
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4))
        assert feeds(net, [Layer("0")], 4) == {"0": "2"}

    def test_an_input_is_read_by_the_module_itself(self):
        net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
        assert feeds(net, [Layer("1", side="input", item=(0,))], 4) == {"1:input": "1"}

    def test_each_call_of_a_module_feeds_a_map_of_its_own(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.act, self.one, self.two = nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4)

            def forward(self, x):
                return self.two(self.act(self.one(self.act(x))))

        assert feeds(Twice(), [Layer("act"), Layer("act", call=2)], 4) == {"act": "one", "act#2": "two"}

    def test_of_several_outputs_the_layers_own_is_followed(self):
        class Two(nn.Module):
            def forward(self, x):
                return x + 1, x + 2

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.both, self.first, self.second = Two(), nn.Linear(4, 4), nn.Linear(4, 4)

            def forward(self, x):
                one, two = self.both(x)
                return self.second(two) + self.first(one)

        assert feeds(Net(), [Layer("both", item=(0,))], 4) == {"both": "first"}
        assert feeds(Net(), [Layer("both", item=(1,))], 4) == {"both": "second"}

    def test_a_layer_that_the_trace_does_not_know_feeds_nothing(self):
        assert feeds(nn.Sequential(nn.Linear(4, 4)), [Layer("0", call=2)], 4) == {}

    def test_a_map_onto_one_feature_reads_a_layer_too(self):
        assert feeds(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1)), [Layer("1")], 4) == {"1": "2"}

    def test_each_of_several_heads_is_known_by_the_name_of_its_output(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.one, self.two = (
                    nn.Sequential(nn.Linear(4, 4), nn.ReLU()),
                    nn.Linear(4, 1),
                    nn.Linear(4, 3),
                )

            def forward(self, x):
                hidden = self.body(x)
                return {"a": self.one(hidden), "b": self.two(hidden), "c": hidden.sum(1)}

        net = Net()
        layers = [Layer("body.0"), Layer("body")]
        found = named_heads(trace(net, lambda: net(torch.randn(2, 4))), layers)
        assert found == {
            (name, layer): path for name, path in (("a", "one"), ("b", "two")) for layer in ("body.0", "body")
        }


class TestWeight:
    def test_a_linear_maps_weight_is_its_matrix(self):
        module = nn.Linear(5, 3)
        np.testing.assert_array_equal(weight_matrix(module, 5), module.weight.detach().numpy().astype(float))

    @pytest.mark.parametrize(
        ("module", "shape"),
        [
            (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular", bias=False), (4, 5, 5)),
            (nn.Conv1d(4, 6, 5, padding=2, padding_mode="circular", bias=False), (4, 7)),
            (nn.Conv3d(4, 6, 1, bias=False), (4, 2, 2, 2)),
        ],
        ids=["2d", "1d", "3d"],
    )
    def test_a_convolutions_matrix_is_what_it_does_to_a_constant_map(self, module, shape):
        constant = torch.randn(4)
        positions = [1] * (len(shape) - 1)
        with torch.no_grad():
            given = module(constant.view(1, 4, *positions).expand(1, *shape)).flatten(2)[0, :, 0]
        np.testing.assert_allclose(weight_matrix(module, 4) @ constant.numpy(), given.numpy(), rtol=1e-4, atol=1e-5)

    def test_the_transposed_maps_of_gpt2_are_turned(self):
        from transformers.pytorch_utils import Conv1D

        module, x = Conv1D(6, 4), torch.randn(1, 4)
        np.testing.assert_allclose(
            x.numpy() @ weight_matrix(module, 4).T, (module(x) - module.bias).detach(), rtol=1e-4, atol=1e-5
        )

    @pytest.mark.parametrize(
        ("module", "features"),
        [
            (nn.Linear(5, 3), 4),
            (nn.Conv2d(4, 4, 3, groups=4), 4),
            (nn.Embedding(7, 5), 5),
            (nn.LayerNorm(5), 5),
            (nn.ConvTranspose2d(4, 4, 3), 4),
            (nn.Linear(5, 3, device="meta"), 5),
            (nn.ReLU(), 5),
        ],
        ids=["another width", "grouped", "embedding", "norm", "transposed", "meta", "none"],
    )
    def test_what_is_no_matrix_on_the_features_is_none(self, module, features):
        assert weight_matrix(module, features) is None

    def test_a_weight_in_bfloat16_is_given_in_double(self):
        module = nn.Linear(5, 3).to(torch.bfloat16)
        assert weight_matrix(module, 5).dtype == np.float64

    def test_an_offloaded_weight_is_fetched_and_left_offloaded(self):
        accelerate = pytest.importorskip("accelerate")
        module = nn.Linear(5, 3)
        expected = weight_matrix(module, 5)
        accelerate.cpu_offload(module, execution_device=torch.device("cpu"))
        np.testing.assert_array_equal(weight_matrix(module, 5), expected)
        assert module.weight.is_meta


class TestLora:
    @pytest.fixture
    def tuned(self):
        """A network whose LoRA is no longer zero."""
        peft = pytest.importorskip("peft")
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3, bias=False))
        tuned = peft.get_peft_model(net, peft.LoraConfig(target_modules=["2"], r=2, init_lora_weights=False))
        return tuned.eval()

    def test_a_map_and_its_lora_are_read_as_one(self, tuned):
        path = feeds(tuned, [Layer("base_model.model.0")], 4)["0"]
        module, x = tuned.get_submodule(path), torch.randn(1, 4)
        np.testing.assert_allclose(weight_matrix(module, 4) @ x[0].numpy(), module(x)[0].detach(), rtol=1e-4, atol=1e-5)

    def test_merging_or_switching_off_the_lora_is_followed(self, tuned):
        module = tuned.base_model.model[2]
        with_update = weight_matrix(module, 4)
        module.merge()
        np.testing.assert_allclose(weight_matrix(module, 4), with_update, rtol=1e-5, atol=1e-6)
        module.unmerge()
        with tuned.disable_adapter():
            np.testing.assert_allclose(
                weight_matrix(module, 4), module.base_layer.weight.detach().numpy(), rtol=1e-4, atol=1e-5
            )
