"""The blocks of networks of timm and of Hugging Face."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import transformers
from helpers.found_blocks import blocks_of, names
from torch import Tensor, nn

from layerwise.network.graph.blocks import find_stages
from layerwise.network.graph.trace import trace
from layerwise.network.layer import Layer

TOKENS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 3, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
PICTURES = torch.ones(2, 3, 32, 32)


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

    def test_encoder_and_decoder_are_stages_of_their_own(self) -> None:
        make, batch, _ = HUGGING_FACE["t5"]
        net = make()
        stages = find_stages(trace(net, lambda: net(**batch)))
        assert names(stages) == ["encoder.block.2", "decoder.block.2", "lm_head:input", "lm_head"]
