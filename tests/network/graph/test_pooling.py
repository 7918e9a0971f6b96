"""How a network pools its tokens is read off its operations."""

from __future__ import annotations

import pytest
import timm
import torch
import transformers
from torch import Tensor, nn

from layerwise.network.graph.pooling import pooling_of
from layerwise.network.graph.trace import trace
from layerwise.profiling import profile


class Tokens(nn.Module):
    """An embedding, a map for every token, a pooling and a classifier."""

    def __init__(self, pool) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.block = nn.Linear(8, 8)
        self.classifier = nn.Linear(8, 3)
        self.pool = pool

    def forward(self, ids: Tensor) -> Tensor:
        return self.classifier(self.pool(self.block(self.embed(ids))).tanh())


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (lambda x: x[:, 0], "cls"),
        (lambda x: x[:, -1], "last"),
        (lambda x: x[torch.arange(len(x)), torch.tensor([4, 2])], "last"),
        (lambda x: x.mean(1), "mean"),
        (lambda x: x[:, 1:].mean(1), "mean"),
        (lambda x: x.amax(1), "max"),
        (lambda x: x[:, 2], None),
    ],
)
def test_the_operation_before_the_classifier_decides(pool, expected):
    net = Tokens(pool)
    assert pooling_of(trace(net, lambda: net(torch.ones(2, 5, dtype=torch.int64)))) == expected


def test_a_network_without_a_classifier_has_no_pooling():
    net = nn.Sequential(nn.Embedding(9, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    assert pooling_of(trace(net, lambda: net(torch.ones(2, 5, dtype=torch.int64)))) is None


def test_auto_reads_the_token_that_an_encoders_classifier_reads():
    sizes = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(**sizes, intermediate_size=32, num_labels=3)
    batch = {"input_ids": torch.randint(3, 20, (6, 7)), "attention_mask": torch.ones(6, 7, dtype=torch.int64)}
    data = [{**batch, "labels": torch.arange(6) % 3}]
    for kind, expected in (("ForSequenceClassification", "cls"), ("Model", "mean")):
        model = getattr(transformers, f"Bert{kind}")(config).eval()
        found = profile(model, data, metrics="nc1")
        assert found["reduction"].sel(layer=[n for n in found["layer"].values if "layer.1" in n]).values == [expected]


class TestPrefix:
    """Layers in front of the place where class and register tokens join have none of them."""

    def profiled(self, name: str, **options):
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=3, **options).eval()
        pictures = torch.randn(6, *model.pretrained_cfg["input_size"])
        return model, pictures, [(pictures, torch.arange(6) % 3)]

    def test_without_its_class_token_a_layer_is_averaged(self):
        model, _, data = self.profiled("cait_xxs24_224", depth=2)
        found = profile(model, data, metrics="feature_norm")
        stated = dict(zip(found["layer"].values, found["reduction"].values, strict=True))
        assert stated["blocks.0"] == stated["blocks.1"] == "mean"
        assert stated["blocks_token_only.1"] == "cls"

    @pytest.mark.parametrize("how", ["mean", "grid:2"])
    def test_every_patch_counts_with_the_prefix_and_without(self, how):
        model, pictures, data = self.profiled("vit_tiny_patch16_224", depth=1)
        found = profile(model, data, reduce=how, layers=["patch_embed", "blocks.0"], metrics="feature_norm")
        with torch.no_grad():
            patches = model.patch_embed(pictures)
            block = model.blocks[0](model.norm_pre(model.patch_drop(model._pos_embed(patches))))[:, 1:]
        for layer, tokens in (("patch_embed", patches), ("blocks.0", block)):
            side = int(tokens.shape[1] ** 0.5)
            maps = tokens.transpose(1, 2).reshape(6, -1, side, side)
            expected = nn.functional.adaptive_avg_pool2d(maps, 1 if how == "mean" else 2).flatten(1).norm(dim=1).mean()
            measured = float(found["feature_norm"].sel(layer=layer).squeeze())
            assert measured == pytest.approx(float(expected), rel=1e-5)

    def test_the_mean_over_nothing_but_a_class_token_is_that_token(self):
        model, _, data = self.profiled("cait_xxs24_224", depth=1)
        found = profile(model, data, reduce="mean", metrics="feature_norm")
        assert bool(found["feature_norm"].notnull().all())
