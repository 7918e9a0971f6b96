"""Which linear map reads a layer, and its weight as a matrix on the layer's features."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from layerwise.network.graph.linear_maps import named_heads, next_linear, previous_linear, weight_matrix, weights_beside
from layerwise.network.graph.trace import trace
from layerwise.network.layer import Layer


def feeds(net: nn.Module, layers: list[Layer], *shape: int) -> dict[str, str]:
    found = next_linear(trace(net, lambda: net(torch.randn(2, *shape))), layers)
    return {name: ", ".join(paths) for name, paths in found.items()}


class TestReader:
    def test_norms_activations_and_dropout_are_skipped(self):
        net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(5, 3))
        assert feeds(net, [Layer("0"), Layer("2"), Layer("4")], 4) == {"0": "4", "2": "4"}

    def test_a_layer_feeds_the_first_map_that_reads_it(self):
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

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_weight_used_by_another_module_is_a_map(self, packed):
        class Lent(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm, self.map, self.bias = (
                    nn.LayerNorm(4),
                    nn.Linear(4, 6, bias=False),
                    nn.Parameter(torch.ones(6)),
                )

            def forward(self, x):
                bias = torch.cat([self.bias[:3], torch.zeros(3)]) if packed else self.bias
                return nn.functional.linear(self.norm(x), self.map.weight, bias)

        net = nn.Sequential(nn.Linear(4, 4), Lent(), nn.Linear(6, 3))
        assert feeds(net, [Layer("0"), Layer("1")], 5, 4) == {"0": "1.map", "1": "2"}
        assert previous_linear(trace(net, lambda: net(torch.ones(2, 4))), [Layer("0")]) == {}

    def test_the_layers_own_output_is_followed(self):
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

    def test_a_layer_outside_the_trace_feeds_nothing(self):
        assert feeds(nn.Sequential(nn.Linear(4, 4)), [Layer("0", call=2)], 4) == {}

    def test_a_map_onto_one_feature_reads_a_layer_too(self):
        assert feeds(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1)), [Layer("1")], 4) == {"1": "2"}

    def test_each_head_is_named_by_its_output(self):
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
    def test_a_convolutions_matrix_is_its_effect_on_a_constant_map(self, module, shape):
        constant = torch.randn(4)
        positions = [1] * (len(shape) - 1)
        with torch.no_grad():
            given = module(constant.view(1, 4, *positions).expand(1, *shape)).flatten(2)[0, :, 0]
        np.testing.assert_allclose(weight_matrix(module, 4) @ constant.numpy(), given.numpy(), rtol=1e-4, atol=1e-5)

    def test_the_maps_of_gpt2_are_transposed(self):
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
    def test_other_modules_have_no_matrix(self, module, features):
        assert weight_matrix(module, features) is None

    def test_a_weight_in_bfloat16_is_returned_in_double(self):
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


class TestTransformers:
    SIZES: ClassVar = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}

    def found(self, net: nn.Module, layer: str, **inputs: torch.Tensor) -> tuple[str, ...]:
        seen = trace(net.eval(), lambda: net(**inputs))
        return next_linear(seen, [Layer(layer, item=self.item(net, layer))]).get(layer, ())

    def item(self, net: nn.Module, layer: str) -> tuple[str | int, ...]:
        """Older versions of transformers give a block's output in a tuple."""
        given: list[object] = []
        handle = net.get_submodule(layer).register_forward_hook(lambda *seen: given.append(seen[2]))
        net(**self.inputs())
        handle.remove()
        return (0,) if isinstance(given[0], tuple) else ()

    def inputs(self) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.arange(10).view(2, 5)}

    def test_query_key_and_value_read_a_block_together(self):
        transformers = pytest.importorskip("transformers")
        net = transformers.BertModel(transformers.BertConfig(**self.SIZES, vocab_size=20))
        own = "encoder.layer.1.attention.self."
        assert self.found(net, "encoder.layer.0", **self.inputs()) == (own + "query", own + "key", own + "value")
        assert self.found(net, "encoder.layer.1", **self.inputs()) == ("pooler.dense",)

    def test_custom_norms_and_shared_keys_are_skipped(self):
        transformers = pytest.importorskip("transformers")
        config = transformers.LlamaConfig(**self.SIZES, num_key_value_heads=1, vocab_size=20)
        net = transformers.LlamaForCausalLM(config)
        own = "model.layers.1.self_attn."
        paths = self.found(net, "model.layers.0", **self.inputs())
        assert paths == (own + "q_proj", own + "k_proj", own + "v_proj")
        assert weights_beside(net, paths, None, 16).reading.shape == (16 + 8 + 8, 16)
        assert self.found(net, "model.layers.1", **self.inputs()) == ("lm_head",)

    def test_parallel_attention_is_read_before_the_mlp(self):
        transformers = pytest.importorskip("transformers")
        config = transformers.GPTJConfig(n_embd=16, n_layer=2, n_head=2, rotary_dim=4, vocab_size=20)
        paths = self.found(transformers.GPTJModel(config), "h.0", **self.inputs())
        assert paths == ("h.1.attn.q_proj", "h.1.attn.k_proj", "h.1.attn.v_proj")

    @pytest.mark.parametrize(
        ("name", "layer", "reader"),
        [
            ("test_vit", "blocks.0", "blocks.1.attn.qkv"),
            ("test_vit", "blocks.5", "head"),
            ("swin_tiny_patch4_window7_224", "layers.0.blocks.0", "layers.0.blocks.1.attn.qkv"),
        ],
    )
    def test_a_fused_map_is_found_after_norm_windows_and_token_choice(self, name, layer, reader):
        timm = pytest.importorskip("timm")
        net = timm.create_model(name, num_classes=3).eval()
        size = net.pretrained_cfg["input_size"]
        assert feeds(net, [Layer(layer)], *size) == {layer: reader}

    def test_torchs_attention_has_its_first_maps_itself(self):
        block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        net = nn.TransformerEncoder(block, 2, enable_nested_tensor=False).eval()
        assert feeds(net, [Layer("layers.0")], 5, 8) == {"layers.0": "layers.1.self_attn"}
        matrix = weight_matrix(net.layers[1].self_attn, 8)
        np.testing.assert_array_equal(matrix, net.layers[1].self_attn.in_proj_weight.detach().double().numpy())

    def test_a_map_used_through_its_weight_is_the_reader(self):
        class Functional(nn.Module):
            def __init__(self):
                super().__init__()
                self.act, self.hidden, self.last = nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 3)

            def forward(self, x):
                return self.last(nn.functional.linear(self.act(x), self.hidden.weight))

        assert feeds(Functional(), [Layer("act")], 4) == {"act": "hidden"}


class TestBetween:
    def between(self, net: nn.Module, layers: list[str], *shape: int) -> dict[str, str]:
        return previous_linear(trace(net, lambda: net(torch.randn(2, *shape))), [Layer(name) for name in layers])

    def test_an_activation_and_dropout_are_not_in_between(self):
        net = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Dropout(), nn.Linear(5, 3), nn.ReLU(inplace=True)).eval()
        assert self.between(net, list("0123"), 4) == {"0": "0", "1": "0", "2": "0"}

    def test_a_block_of_a_map_and_an_activation_is_between_two_maps(self):
        net = nn.Sequential(nn.Sequential(nn.Linear(4, 5), nn.ReLU()), nn.Sequential(nn.Linear(5, 3), nn.ReLU()))
        assert self.between(net, ["0", "1"], 4) == {"0": "0.0"}

    @pytest.mark.parametrize("between", [nn.BatchNorm1d(4), nn.LayerNorm(4), nn.Softmax(1), nn.AvgPool1d(1)])
    @pytest.mark.parametrize("layer", ["0", "1", "2"])
    def test_a_norm_a_pool_or_a_mixture_is_in_between(self, between, layer):
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), between, nn.Linear(4, 3)).eval()
        assert self.between(net, [layer], 4) == {}

    def test_a_sum_or_a_gate_is_in_between(self):
        class Net(nn.Module):
            def __init__(self, gate):
                super().__init__()
                self.one, self.act, self.two, self.gate = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3), gate

            def forward(self, x):
                y = self.one(x)
                return self.two(self.act(x * y if self.gate else x + y))

        for gate in (True, False):
            assert self.between(Net(gate), ["act"], 4) == {}
            assert self.between(Net(gate), ["one"], 4) == {}

    def test_weights_are_those_before_and_after_the_layer(self):
        net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
        beside = weights_beside(net, ["2"], "0", 5)
        np.testing.assert_array_equal(beside.reading, net[2].weight.detach().double().numpy())
        np.testing.assert_array_equal(beside.giving, net[0].weight.detach().double().numpy())
        assert beside.resolution == torch.finfo(torch.float32).eps

    def test_a_reader_of_another_width_is_none(self):
        assert weights_beside(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), ["2"], "0", 4) is None
