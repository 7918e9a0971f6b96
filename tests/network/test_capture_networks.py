"""Capture in networks that are compiled, checkpointed, fused, wrapped, adapted or offloaded: the same layers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator

import pytest
import torch
from helpers import oracle
from helpers.capture import captured
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from layerwise.errors import LayerNeverFired
from layerwise.network.capture import unwrap
from layerwise.network.layer import Layer
from layerwise.profiling import profile


class Small(nn.Module):
    """Two blocks and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Dropout(0.5)) for _ in range(2))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


NAMES = ["blocks.0", "blocks.1.0", "head"]


@pytest.fixture
def net() -> Small:
    torch.manual_seed(0)
    return Small().train()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def batches(x) -> list[tuple[Tensor, Tensor]]:
    return [(x, torch.arange(6) % 3)]


@pytest.fixture
def process_group(tmp_path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def assert_same(taken: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(taken) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(taken[name], value, rtol=1e-6, atol=1e-6)


def assert_same_profile(profiled, expected) -> None:
    assert profiled["layer"].values.tolist() == expected["layer"].values.tolist()
    for name in ("nc1", "class_norm"):
        torch.testing.assert_close(profiled[name].values, expected[name].values, rtol=1e-5, atol=1e-6)


# Backends that make no code of their own keep the test fast; hooks are skipped all the same.
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
class TestCompiled:
    def test_the_whole_model(self, net, x, backend):
        expected = captured(net, NAMES, lambda: net(x))
        compiled = torch.compile(net, backend=backend)
        with torch.no_grad():
            compiled(x)
        layers = [Layer(f"_orig_mod.{name}") for name in NAMES]
        assert_same(captured(compiled, layers, lambda: compiled(x)), expected)

    @pytest.mark.parametrize("path", ["blocks.0", "blocks.1.0"])
    def test_a_submodule_compiled_in_place(self, net, x, backend, path):
        expected = captured(net, NAMES, lambda: net(x))
        net.get_submodule(path).compile(backend=backend)
        with torch.no_grad():
            net.eval()(x)
        assert_same(captured(net, NAMES, lambda: net(x)), expected)

    def test_a_submodule_in_a_compiled_wrapper(self, net, x, backend):
        expected = captured(net, ["blocks.0.0", "head"], lambda: net(x))
        net.blocks[0] = torch.compile(net.blocks[0], backend=backend)
        with torch.no_grad():
            net.eval()(x)
        assert_same(captured(net, ["blocks.0._orig_mod.0", "head"], lambda: net(x)), expected)


class TestCheckpointed:
    @pytest.mark.parametrize("reentrant", [True, False])
    def test_a_checkpointed_block_in_training_mode_fires_once(self, net, x, reentrant):
        class Checkpointed(Small):
            def forward(self, x: Tensor) -> Tensor:
                for block in self.blocks:
                    x = checkpoint(block, x, use_reentrant=reentrant)
                return self.head(x)

        other = Checkpointed().train()
        other.load_state_dict(net.state_dict())
        assert_same(captured(other, NAMES, lambda: other(x)), captured(net, NAMES, lambda: net(x)))

    def test_checkpointing_of_transformers(self):
        import transformers

        config = transformers.BertConfig(
            vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
        )
        bert, ids = transformers.BertModel(config).train(), torch.arange(3, 11)[None]
        layers = [Layer("encoder.layer.0"), Layer("encoder.layer.1")]
        expected = captured(bert, layers, lambda: bert(ids))
        with warnings.catch_warnings():
            # Renamed in transformers 5.
            warnings.simplefilter("ignore", FutureWarning)
            bert.gradient_checkpointing_enable()
        assert_same(captured(bert, layers, lambda: bert(ids)), expected)


class TestPrecision:
    def test_autocast_sets_the_type_of_features(self, net, x):
        with torch.autocast("cpu", torch.bfloat16):
            taken = captured(net, NAMES, lambda: net(x))
            expected = net.eval().head(net.blocks[1](net.blocks[0](x)))
        assert taken["head"].dtype == torch.bfloat16
        assert torch.equal(taken["head"], expected)

    @pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
    def test_half_precision_is_measured_in_double(self, net, batches, half):
        ((x, labels),) = batches
        net.to(half)
        profiled = profile(net, [(x.to(half), labels)], layers=NAMES, metrics="nc1")
        assert profiled.attrs["precision"] == str(half).removeprefix("torch.")
        assert all(parameter.dtype == half for parameter in net.parameters())
        taken = captured(net.eval(), NAMES, lambda: net(x.to(half)))
        for name, features in taken.items():
            expected = oracle.nc1(features.double().numpy(), labels.numpy())
            assert float(profiled["nc1"].sel(layer=name).squeeze()) == pytest.approx(expected, rel=1e-6)


class TestFusedAttention:
    @pytest.fixture
    def encoder(self) -> nn.TransformerEncoder:
        torch.manual_seed(0)
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()

    @pytest.fixture
    def tokens(self) -> Tensor:
        return torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))

    def test_a_block_equals_its_fused_form(self, encoder, tokens):
        with torch.no_grad():
            fused = encoder.layers[0](tokens)
        taken = captured(encoder, ["layers.0"], lambda: encoder(tokens))
        torch.testing.assert_close(taken["layers.0"], fused, rtol=1e-5, atol=1e-5)

    def test_the_children_of_a_fused_block_run(self, encoder, tokens):
        taken = captured(encoder, ["layers.0.linear1", "layers.1.norm2"], lambda: encoder(tokens))
        assert taken["layers.0.linear1"].shape == (3, 5, 32)
        torch.testing.assert_close(taken["layers.1.norm2"], encoder(tokens), rtol=1e-5, atol=1e-5)

    def test_padding_makes_no_nested_tensors(self, encoder, tokens):
        padding = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]]).bool()
        taken = captured(encoder, ["layers.0", "layers.1"], lambda: encoder(tokens, src_key_padding_mask=padding))
        assert all(value.shape == (3, 5, 16) for value in taken.values())
        alone = captured(encoder, ["layers.1"], lambda: encoder(tokens[:1, :3]))["layers.1"]
        torch.testing.assert_close(taken["layers.1"][:1, :3], alone, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("training", [True, False])
    def test_leaves_of_an_encoder_with_padding_are_profiled(self, training):
        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
                self.head = nn.Linear(16, 3)

            def forward(self, x, padding):
                return self.head(self.encoder(x, src_key_padding_mask=padding).mean(1))

        padding = torch.arange(5)[None].expand(6, 5) >= torch.tensor([3, 5, 4, 3, 5, 4])[:, None]
        batch = {"x": torch.randn(6, 5, 16), "padding": padding, "labels": torch.arange(6) % 3}
        profiled = profile(Classifier().train(training), [batch], layers="leaves", metrics="nc1")
        assert {"encoder.layers.0.linear1", "encoder.layers.1.norm2"} <= set(profiled["layer"].values.tolist())


class TestWrapped:
    def test_a_module_under_two_paths_is_found_by_both(self, x):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = nn.Linear(8, 8)
                self.second = self.first

            def forward(self, x):
                return self.second(x)

        tied = Tied()
        taken = captured(tied, ["first", "second"], lambda: tied(x))
        assert torch.equal(taken["first"], tied(x))
        assert torch.equal(taken["second"], tied(x))

    def test_data_parallel_changes_nothing(self, net, batches):
        assert_same_profile(profile(nn.DataParallel(net), batches), profile(net, batches))

    @pytest.mark.usefixtures("process_group")
    def test_distributed_data_parallel_changes_nothing(self, net, batches):
        expected = profile(net, batches)
        wrapped = nn.parallel.DistributedDataParallel(net)
        assert_same_profile(profile(wrapped, batches), expected)
        assert_same_profile(profile(torch.compile(wrapped, backend="eager"), batches), expected)

    @pytest.mark.usefixtures("process_group")
    def test_sharding_changes_nothing(self, net, batches):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        expected = profile(net, batches)
        mesh = init_device_mesh("cpu", (1,))
        for module in (*net.blocks, net):
            fully_shard(module, mesh=mesh)
        sharded = profile(net, batches)
        assert_same_profile(sharded, expected)
        assert sharded.attrs["model_hash"] == expected.attrs["model_hash"]
        for name in ("weight_alignment", "weight_stable_rank"):
            torch.testing.assert_close(sharded[name].values, expected[name].values, equal_nan=True)

    def test_nested_wrappers_are_removed(self, net):
        assert unwrap(torch.compile(nn.DataParallel(torch.compile(net, backend="eager")), backend="eager")) is net

    def test_a_wrapper_of_the_user_prefixes_names(self, net, batches):
        class Inner(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.net = net

            def forward(self, x):
                return {"logits": self.net(x)}

        class Outer(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.model = Inner(net)

            def forward(self, x):
                return self.model(x)["logits"] / 2

        expected, wrapped = profile(net, batches, metrics="nc1"), profile(Outer(net), batches, metrics="nc1")
        assert wrapped["layer"].values.tolist() == [f"model.net.{name}" for name in expected["layer"].values]
        assert wrapped["nc1"].values.tolist() == expected["nc1"].values.tolist()

    def test_a_wrapped_model_keeps_its_own_adapter(self):
        import timm

        vit = timm.create_model("test_vit", num_classes=3, img_size=32)
        batch = (torch.randn(3, 3, 32, 32), torch.arange(3))
        profiled = profile(nn.DataParallel(vit), [batch], metrics="nc1")
        assert profiled.attrs["adapter"] == "timm"

    def test_lora_keeps_the_names_of_the_base_model(self):
        peft = pytest.importorskip("peft")
        import timm

        vit = timm.create_model("test_vit", num_classes=3, img_size=32)
        batches = [(torch.randn(6, 3, 32, 32), torch.arange(6) % 3)]
        expected = profile(vit, batches)
        adapted = peft.get_peft_model(copy.deepcopy(vit), peft.LoraConfig(target_modules=["qkv", "fc1"]))
        # A fresh adapter adds nothing yet.
        assert_same_profile(profile(adapted, batches), expected)

    def test_lora_in_plain_blocks_keeps_their_names(self, net, batches):
        peft = pytest.importorskip("peft")
        expected = profile(net, batches)
        adapted = peft.get_peft_model(copy.deepcopy(net), peft.LoraConfig(target_modules=r"blocks\.\d\.0"))
        assert_same_profile(profile(adapted, batches), expected)


class TestQuantised:
    def test_eight_bit_weights_are_profiled_by_their_values(self, net, batches):
        quantization = pytest.importorskip("torchao.quantization")
        quantised = copy.deepcopy(net)
        quantization.quantize_(quantised, quantization.Int8WeightOnlyConfig())
        stands_for = copy.deepcopy(net)
        with torch.no_grad():
            for module, kept in zip(stands_for.modules(), quantised.modules(), strict=True):
                if isinstance(module, nn.Linear):
                    module.weight.copy_(kept.weight.dequantize())
        profiled, expected = profile(quantised, batches), profile(stands_for, batches)
        assert_same_profile(profiled, expected)
        assert not torch.equal(stands_for.head.weight, net.head.weight)
        torch.testing.assert_close(
            profiled["weight_stable_rank"].values, expected["weight_stable_rank"].values, equal_nan=True
        )


class TestSkipping:
    """Networks whose layers do not all run every time."""

    class Skipping(nn.Module):
        """Blocks that training skips at random, and that some data never reach."""

        def __init__(self, skips: float, enough: int = 10**9) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.GELU()) for _ in range(3))
            self.head = nn.Linear(8, 3)
            self.skips, self.enough = skips, enough

        def forward(self, x: Tensor) -> Tensor:
            for number, layer in enumerate(self.layers):
                if (self.training and torch.rand(()) < self.skips) or (number and len(x) >= self.enough):
                    continue
                x = layer(x)
            return self.head(x)

    def test_randomly_skipped_blocks_all_run(self, batches):
        net = self.Skipping(skips=1.0).train()
        assert profile(net, batches, metrics="nc1")["layer"].values.tolist() == [
            *(f"layers.{i}" for i in range(3)),
            "head",
        ]
        assert net.training

    def test_a_layer_that_one_batch_skips_is_named(self, batches):
        with pytest.raises(LayerNeverFired, match=r"never called layer 'layers\.1'; nearest that did: layers\.0"):
            profile(self.Skipping(skips=0.0, enough=6), batches, metrics="nc1")


class TestOffloaded:
    @pytest.mark.parametrize("where", ["cpu", "disk"])
    def test_offloading_changes_nothing(self, net, batches, tmp_path, where):
        accelerate = pytest.importorskip("accelerate")
        expected = profile(net, batches)
        if where == "cpu":
            accelerate.cpu_offload(net, execution_device=torch.device("cpu"))
        else:
            accelerate.disk_offload(net, str(tmp_path), execution_device=torch.device("cpu"))
        profiled = profile(net, batches)
        assert all(parameter.is_meta for parameter in net.parameters())
        assert_same_profile(profiled, expected)
        assert profiled.attrs["model_hash"] == expected.attrs["model_hash"]
        torch.testing.assert_close(
            profiled["weight_alignment"].values, expected["weight_alignment"].values, equal_nan=True
        )
