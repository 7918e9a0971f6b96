from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
import transformers
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

from layerwise.errors import LayerNeverFired, UnknownName
from layerwise.network.graph.blocks import all_calls, choose, find_blocks, find_stages, leaves
from layerwise.network.graph.records import Trace
from layerwise.network.graph.trace import trace
from layerwise.network.layer import Layer

TOKENS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 3, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
PICTURES = torch.ones(2, 3, 32, 32)


def blocks_of(net: nn.Module, *inputs: Tensor, head: str | None = None, **named: Tensor) -> list[Layer]:
    """The blocks that are found in one forward."""
    return find_blocks(trace(net, lambda: net(*inputs, **named)), head)


def names(layers: list[Layer], *roles: str) -> list[str]:
    """Their names, of those with certain roles when some are given."""
    return [layer.name for layer in layers if not roles or layer.role in roles]


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


def staged(lists: str, downsample: str, *depths: int) -> list[str]:
    """Names of stages of blocks, each but the first behind a downsampling layer."""
    found = []
    for stage, depth in enumerate(depths):
        found += [downsample.format(stage)] * (stage > 0 and bool(downsample))
        found += [f"{lists.format(stage)}.{block}" for block in range(depth)]
    return found


#: Stem and blocks of one network of each of a dozen families, without the classifier's input and the logits.
TIMM: dict[str, list[str]] = {
    "resnet18": ["act1", *(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1))],
    "vgg11": [*(f"features.{place}" for place in (1, 4, 7, 9, 12, 14, 17, 19)), "pre_logits"],
    "densenet121": [
        "features.norm0",
        *(f"features.{kind}{stage}" for stage in (1, 2, 3) for kind in ("denseblock", "transition")),
        "features.denseblock4",
    ],
    "vit_tiny_patch16_224": ["patch_embed", *(f"blocks.{block}" for block in range(12))],
    "swin_tiny_patch4_window7_224": [
        "patch_embed",
        *staged("layers.{}.blocks", "layers.{}.downsample", 2, 2, 6, 2),
    ],
    "convnext_atto": ["stem", *staged("stages.{}.blocks", "stages.{}.downsample", 2, 2, 6, 2)],
    "mixer_s32_224": ["stem", *(f"blocks.{block}" for block in range(8))],
    "efficientnet_b0": ["bn1", *staged("blocks.{}", "", 1, 2, 2, 3, 3, 4, 1), "bn2"],
    "hrnet_w18_small": [
        *("act1", "act2", "layer1.0", "stage2.0", "stage3.0", "stage4.0", "final_layer:input", "final_layer"),
    ],
    "focalnet_tiny_srf": ["stem", *staged("layers.{}.blocks", "layers.{}.downsample", 2, 2, 6, 2)],
    "inception_v3": [
        *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"),
        *(f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")),
    ],
    "nasnetalarge": [
        *("conv0", "cell_stem_0", "cell_stem_1", *(f"cell_{cell}" for cell in range(6)), "reduction_cell_0"),
        *(*(f"cell_{cell}" for cell in range(6, 12)), "reduction_cell_1", *(f"cell_{cell}" for cell in range(12, 18))),
    ],
}


class TestTimm:
    @staticmethod
    def found(name: str) -> list[Layer]:
        with torch.device("meta"):
            net = timm.create_model(name)
            x = torch.empty(2, *net.default_cfg["input_size"])
        return blocks_of(net, x, head=net.pretrained_cfg["classifier"])

    @pytest.mark.parametrize("name", TIMM)
    def test_families(self, name: str) -> None:
        layers = self.found(name)
        assert names(layers, "stem", "block") == TIMM[name]
        assert [layer.role for layer in layers[-2:]] == ["features", "logits"]
        assert layers[-2].name == f"{layers[-1].name}:input"

    def test_a_network_without_a_classifier_ends_with_its_features(self) -> None:
        layers = self.found("vit_small_patch14_reg4_dinov2")
        assert names(layers) == ["patch_embed", *(f"blocks.{block}" for block in range(12)), "head:input"]
        assert layers[-1].role == "features"
        assert layers[1].shape[0] - layers[0].shape[0] == 5  # the class token and four registers

    def test_operations_determine_the_axis_of_features(self) -> None:
        assert {layer.channels for layer in self.found("swin_tiny_patch4_window7_224")} == {-1}
        assert {layer.channels for layer in self.found("convnext_atto") if len(layer.shape) == 3} == {1}


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 99,
}
VISION = {key: value for key, value in SMALL.items() if key != "vocab_size"} | {"image_size": 32, "patch_size": 8}
DECODER = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 3, "vocab_size": 99, "decoder_start_token_id": 1}
HEADS = {
    f"{side}_{what}": size
    for side in ("encoder", "decoder")
    for what, size in (("attention_heads", 4), ("ffn_dim", 48))
}
TEXT = {"input_ids": TOKENS, "attention_mask": MASK}
CONVOLUTIONS = {"conv_dim": (16, 16), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_feat_extract_layers": 2}
POSITIONS = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}

#: A small network of each kind, what goes into it, and the names of its blocks.
HUGGING_FACE: dict[str, tuple[Callable[[], nn.Module], dict[str, Tensor], list[str]]] = {
    "bert": (
        lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL)),
        TEXT,
        [f"bert.encoder.layer.{block}" for block in range(3)],
    ),
    "albert": (
        lambda: transformers.AlbertModel(transformers.AlbertConfig(**SMALL, embedding_size=16)),
        TEXT,
        [f"encoder.albert_layer_groups.0.albert_layers.0{call}" for call in ("", "#2", "#3")],
    ),
    "gpt2": (
        lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                n_embd=32, n_layer=3, n_head=4, vocab_size=99, bos_token_id=0, eos_token_id=0, pad_token_id=0
            )
        ),
        TEXT,
        [f"transformer.h.{block}" for block in range(3)],
    ),
    "llama": (
        lambda: transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**SMALL, pad_token_id=0)),
        TEXT,
        [f"model.layers.{block}" for block in range(3)],
    ),
    "t5": (
        lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=3, num_heads=4, vocab_size=99)
        ),
        {**TEXT, "decoder_input_ids": TOKENS},
        [f"{side}.block.{block}" for side in ("encoder", "decoder") for block in range(3)],
    ),
    "whisper": (
        lambda: transformers.WhisperForConditionalGeneration(
            transformers.WhisperConfig(
                **DECODER,
                **HEADS,
                num_mel_bins=8,
                max_source_positions=20,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
            )
        ),
        {"input_features": torch.ones(2, 8, 40), "decoder_input_ids": TOKENS},
        [
            *(f"model.encoder.layers.{block}" for block in range(2)),
            *(f"model.decoder.layers.{block}" for block in range(3)),
        ],
    ),
    "dinov2": (
        lambda: transformers.Dinov2ForImageClassification(transformers.Dinov2Config(**VISION)),
        {"pixel_values": PICTURES},
        [f"dinov2.encoder.layer.{block}" for block in range(3)],
    ),
    "convnext": (
        lambda: transformers.ConvNextForImageClassification(
            transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[2, 1], num_stages=2)
        ),
        {"pixel_values": PICTURES},
        [
            *("convnext.encoder.stages.0.layers.0", "convnext.encoder.stages.0.layers.1"),
            *("convnext.encoder.stages.1.downsampling_layer.1", "convnext.encoder.stages.1.layers.0"),
        ],
    ),
    "swin": (
        lambda: transformers.SwinModel(
            transformers.SwinConfig(
                image_size=32, patch_size=2, embed_dim=16, depths=[2, 1], num_heads=[2, 2], window_size=4
            )
        ),
        {"pixel_values": PICTURES},
        [
            *("encoder.layers.0.blocks.0", "encoder.layers.0.blocks.1", "encoder.layers.0.downsample"),
            "encoder.layers.1.blocks.0",
        ],
    ),
    "mamba": (
        lambda: transformers.MambaForCausalLM(
            transformers.MambaConfig(hidden_size=32, num_hidden_layers=3, vocab_size=99, state_size=4)
        ),
        {"input_ids": TOKENS},
        [f"backbone.layers.{block}" for block in range(3)],
    ),
    "wav2vec2": (
        lambda: transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SMALL, **CONVOLUTIONS, **POSITIONS)),
        {"input_values": torch.ones(2, 2000)},
        [f"encoder.layers.{block}" for block in range(3)],
    ),
    "clip": (
        lambda: transformers.CLIPModel(
            transformers.CLIPConfig(
                text_config={**SMALL, "bos_token_id": 0, "eos_token_id": 2}, vision_config=VISION, projection_dim=16
            )
        ),
        {**TEXT, "pixel_values": PICTURES},
        [
            *(f"vision_model.encoder.layers.{block}" for block in range(3)),
            "visual_projection",
            *(f"text_model.encoder.layers.{block}" for block in range(3)),
            "text_projection",
        ],
    ),
}


class TestHuggingFace:
    @pytest.mark.parametrize("name", HUGGING_FACE)
    def test_kinds_of_network(self, name: str) -> None:
        make, batch, expected = HUGGING_FACE[name]
        assert names(blocks_of(make(), **batch), "block") == expected

    def test_a_block_is_before_the_final_norm(self) -> None:
        make, batch, _ = HUGGING_FACE["llama"]
        net = make().eval()
        layers = blocks_of(net, **batch, head="score")
        caught: dict[str, Tensor] = {}
        for layer in layers[1:-2]:
            module = net.get_submodule(layer.path)
            module.register_forward_hook(lambda _module, _args, output, name=layer.name: caught.update({name: output}))
        with torch.no_grad():
            states = net(**batch, output_hidden_states=True).hidden_states
        assert [torch.equal(mine, theirs) for mine, theirs in zip(caught.values(), states[1:], strict=True)] == [
            *(True, True, False),
        ]

    def test_the_pooler_is_the_classifiers_input(self) -> None:
        make, batch, _ = HUGGING_FACE["bert"]
        layers = blocks_of(make(), **batch, head="classifier")
        assert [(layer.name, layer.role) for layer in layers[-2:]] == [
            ("bert.pooler", "features"),
            ("classifier", "logits"),
        ]


@pytest.fixture(scope="module")
def resnet() -> Trace:
    net = torchvision.models.resnet18()
    return trace(net, lambda: net(torch.ones(1, 3, 64, 64)))


class TestChoosing:
    def test_stages_end_with_their_last_block(self, resnet: Trace) -> None:
        expected = ["layer1.1", "layer2.1", "layer3.1", "layer4.1", "fc:input", "fc"]
        assert names(find_stages(resnet)) == names(choose(resnet, "stages")) == expected

    def test_encoder_and_decoder_are_stages_of_their_own(self) -> None:
        make, batch, _ = HUGGING_FACE["t5"]
        net = make()
        stages = find_stages(trace(net, lambda: net(**batch)))
        assert names(stages) == ["encoder.block.2", "decoder.block.2", "lm_head:input", "lm_head"]

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
