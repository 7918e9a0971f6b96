"""The blocks of small networks, each of one shape of connections."""

from __future__ import annotations

import pytest
import torch
import torchvision
from helpers.found_blocks import blocks_of, names
from helpers.traced_networks import (
    Branches,
    Convolved,
    CrossStage,
    Functional,
    Gated,
    LoopedMLP,
    OneOfTwo,
    Recurrent,
    Refining,
    Reminded,
    ResidualMLP,
    Restorer,
    StructuredStack,
    TwoStreams,
    TwoTowers,
    UNet,
    mlp,
    stack,
)
from torch import Tensor, nn

TOKENS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 3, 1, 1]])


class TestPlainNetworks:
    def test_a_sequential_stack_is_split_at_its_activations(self) -> None:
        layers = blocks_of(mlp(5, 8, 8, 3), torch.ones(2, 5))
        assert [(layer.name, layer.role) for layer in layers] == [("1", "block"), ("3", "features"), ("4", "logits")]

    def test_dropout_flatten_identity_and_softmax_are_no_layers(self) -> None:
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Dropout(0.5), nn.Identity(), nn.Linear(8, 3), nn.Softmax(1)
        )
        layers = blocks_of(net, torch.ones(2, 3, 4, 4))
        assert [(layer.name, layer.role) for layer in layers] == [("2", "features"), ("5", "logits")]

    def test_the_classifiers_input_is_a_layer_if_no_module_makes_it(self) -> None:
        layers = blocks_of(LoopedMLP(), torch.ones(2, 8))
        assert names(layers) == ["layers.0", "layers.1", "layers.2", "head:input", "head"]

    def test_a_residual_stream_in_a_loop_is_the_next_blocks_input(self) -> None:
        layers = blocks_of(ResidualMLP(), torch.ones(2, 5))
        assert names(layers) == ["stem", "blocks.1:input", "blocks.2:input", "head:input", "head"]

    def test_functional_activations_pools_and_sums(self) -> None:
        layers = blocks_of(Functional(), torch.ones(2, 3, 16, 16))
        assert names(layers) == ["conv1", "conv3:input", "conv3", "fc1", "fc2:input", "fc2"]

    def test_both_sides_of_a_u_net_are_blocks(self) -> None:
        layers = blocks_of(UNet(), torch.ones(2, 3, 16, 16))
        assert names(layers) == ["down1", "down2", "middle", "up2", "up1", "out"]

    def test_each_tower_has_its_own_blocks(self) -> None:
        layers = blocks_of(TwoTowers(), torch.ones(2, 5), torch.ones(2, 6))
        left, right = ([f"{side}.{place}" for place in (1, 3, 4)] for side in ("left", "right"))
        assert names(layers) == [*left, *right, "head:input", "head"]

    def test_a_cell_is_a_block_at_every_step(self) -> None:
        layers = blocks_of(Recurrent(), TOKENS[:, :3])
        assert names(layers) == ["embed", "cell", "cell#2", "cell#3", "head"]

    @pytest.mark.parametrize("block", [Branches, CrossStage, Gated])
    def test_lists_in_branches_and_in_residuals_stay_closed(self, block: type[nn.Module]) -> None:
        assert names(blocks_of(stack(block), torch.ones(2, 8))) == ["0", "1", "2", "3"]

    def test_the_tensor_that_flows_on_is_named(self) -> None:
        layers = blocks_of(StructuredStack(), torch.ones(2, 8))
        assert [layer.item for layer in layers] == [*[("stream", 0)] * 3, ()]

    def test_torchvisions_resnet(self) -> None:
        layers = blocks_of(torchvision.models.resnet18(), torch.ones(1, 3, 64, 64))
        inner = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
        assert names(layers) == ["relu", *inner, "fc:input", "fc"]
        assert names(layers, "stem") == ["relu"]
        assert layers[1].shape == (64, 16, 16)

    def test_blocks_of_one_class_are_all_opened_or_none(self) -> None:
        # Without a residual, the insides of some of MobileNet's blocks are chains of cuts.
        layers = blocks_of(torchvision.models.mobilenet_v2(), torch.ones(1, 3, 32, 32))
        assert names(layers, "block") == [f"features.{place}" for place in range(19)]

    def test_the_fused_transformer_encoder(self) -> None:
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        net = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        assert names(blocks_of(net, torch.ones(2, 5, 8))) == ["layers.0", "layers.1", "layers.2"]

    def test_wrappers_add_nothing_but_a_prefix(self) -> None:
        net = torch.compile(nn.DataParallel(ResidualMLP()))
        assert names(blocks_of(net, torch.ones(2, 5))) == names(blocks_of(ResidualMLP(), torch.ones(2, 5)))

    def test_a_stack_that_the_network_begins_with_is_opened(self) -> None:
        stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 32, 3, 2, 1))
        net = nn.Sequential(stem, *(nn.Sequential(Convolved(32), Convolved(32)) for _ in range(3)))
        layers = blocks_of(net, torch.ones(2, 3, 16, 16))
        assert names(layers) == ["0.1", "0.2", *(f"{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1))]
        assert names(layers, "stem") == ["0.1", "0.2"]

    def test_the_stream_to_the_first_output_is_named(self) -> None:
        layers = blocks_of(TwoStreams(), torch.ones(2, 8))
        assert [(layer.name, layer.item) for layer in layers] == [("blocks.0", (0,)), ("blocks.1", (0,))]

    def test_a_residual_around_most_of_the_network_makes_no_block(self) -> None:
        layers = blocks_of(Restorer(), torch.ones(2, 5))
        assert names(layers) == ["stem", *(f"blocks.{block}" for block in range(3)), "last", "Restorer"]

    def test_refined_and_stacked_outputs_do_not_close_a_list(self) -> None:
        layers = blocks_of(Refining(), torch.ones(2, 5))
        assert [name for name in names(layers) if "layers" in name] == [f"layers.{layer}" for layer in range(3)]

    def test_a_loop_that_adds_its_input_again_is_opened(self) -> None:
        layers = blocks_of(Reminded(), torch.ones(2, 5))
        calls = [f"blocks.{block}{turn}" for turn in ("", "#2") for block in (0, 1)]
        assert names(layers) == ["stem", *calls, "head"]

    def test_a_tower_that_does_not_run_counts_for_nothing(self) -> None:
        layers = blocks_of(nn.Sequential(OneOfTwo(), nn.Linear(8, 3)), torch.ones(2, 8))
        assert names(layers) == ["0.text.0", "0.text.1", "1"]

    def test_unlike_weights_with_norms_are_blocks(self) -> None:
        def normed(width: int, after: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(width, after), nn.LayerNorm(after), nn.ReLU())

        head = nn.Sequential(normed(8, 16), normed(16, 24))
        net = nn.Sequential(*(Branches() for _ in range(6)), head, nn.Linear(24, 3))
        assert names(blocks_of(net, torch.ones(2, 8))) == [*map(str, range(6)), "6.0", "6.1", "7"]

    def test_a_repeated_lookup_of_tokens_is_a_stem(self) -> None:
        class Looked(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.table, self.blocks = nn.Embedding(2000, 8), stack(Gated)

            def forward(self, tokens: Tensor) -> Tensor:
                return self.blocks(torch.cat([self.table(tokens), self.table(tokens * 0)], 1))

        layers = blocks_of(Looked(), TOKENS)
        assert names(layers, "stem") == ["table", "table#2"]

    def test_finding_blocks_is_repeatable(self) -> None:
        assert blocks_of(UNet(), torch.ones(2, 3, 16, 16)) == blocks_of(UNet(), torch.ones(2, 3, 16, 16))
