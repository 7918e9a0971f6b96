"""What `auto` takes of the last layer with positions is what the network itself makes of them, or it is told."""

from __future__ import annotations

import logging

import pytest
import timm
import torch
import transformers
from torch import Tensor, nn

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData
from layerwise.features.pooling import unlike_samples
from layerwise.features.read_features import reading_features
from layerwise.profiling import Profiler, profile
from layerwise.settings import Settings

LABELS = torch.arange(6) % 3
TEXT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


class Pooled(nn.Module):
    """Tokens or maps, a pooling that the test gives, and a classifier upon what it makes."""

    def __init__(self, below: nn.Module, pool, width: int) -> None:
        super().__init__()
        self.below, self.pool = below, pool
        self.classifier = nn.Linear(width, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        features = self.below(input_ids)
        return self.classifier(self.pool(features) if attention_mask is None else self.pool(features, attention_mask))


def tokens(pool) -> nn.Module:
    torch.manual_seed(0)
    return Pooled(nn.Sequential(nn.Embedding(30, 8), nn.Linear(8, 8)), pool, 8).eval()


def maps(pool, width: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return Pooled(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()), pool, width).eval()


def texts(end: int = 29, pad: int = 0) -> tuple[Tensor, Tensor]:
    """Texts of unequal length that end in one token, and their mask; padded on the right."""
    ids = torch.randint(3, 29, (6, 9), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([3, 5, 9, 7, 4, 6])
    mask = (torch.arange(9)[None] < lengths[:, None]).long()
    ids[torch.arange(6), lengths - 1] = end
    return ids.masked_fill(mask == 0, pad), mask


def read(model: nn.Module, batch, layer: str | None = None, **options) -> tuple[Tensor, Profiler]:
    """The features of the last layer with positions, or of a named one, as a profile reads them."""
    options = {"metrics": "feature_norm", **options}
    profiler = Profiler(model, [batch], settings=Settings(**({"layers": layer} if layer else {}), **options))
    chosen = [reading for reading in profiler.readings if len(reading.layer.shape) > 1][-1]
    received: list[Tensor] = []
    with reading_features(profiler.network, [chosen], lambda reading, features: received.append(features)) as run:
        run(profiler.network.adapter.batch(batch, profiler.network.device))
    return received[0], profiler


def classifier_input(model: nn.Module, head: nn.Module, inputs) -> Tensor:
    taken: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda module, args: taken.append(args[0]))
    with torch.no_grad():
        model(**inputs) if isinstance(inputs, dict) else model(inputs)
    handle.remove()
    return taken[0]


@pytest.mark.parametrize(
    ("pool", "width", "reduction"),
    [
        (lambda x: x.mean((2, 3)), 6, "gap"),
        (lambda x: x.amax((2, 3)), 6, "max"),
        (lambda x: nn.functional.adaptive_max_pool2d(x, 1).flatten(1), 6, "max"),
        (lambda x: x.flatten(1), 6 * 14 * 14, "flatten"),
    ],
)
def test_maps_follow_the_networks_pooling(pool, width, reduction, caplog):
    model, pictures = maps(pool, width), torch.randn(6, 3, 16, 16)
    features, profiler = read(model, (pictures, LABELS))
    assert profiler.prepared.layers.network_pooling == reduction
    torch.testing.assert_close(features, classifier_input(model, model.classifier, pictures))
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "options", "reduction"),
    [
        ("resnet18", {}, "gap"),
        ("vit_tiny_patch16_224", {"depth": 1}, "cls"),
        ("vit_tiny_patch16_224", {"depth": 1, "global_pool": "avg", "fc_norm": False}, "mean"),
        ("vit_tiny_patch16_224", {"depth": 1, "global_pool": "max", "fc_norm": False}, "max"),
    ],
)
def test_networks_of_timm_follow_their_own_pooling(name, options, reduction):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3, **options).eval()
    size = 64 if name == "resnet18" else 224
    pictures = torch.randn(6, 3, size, size)
    # A norm stands between the blocks and the pooling of a transformer.
    features, profiler = read(model, (pictures, LABELS), "norm" if name.startswith("vit") else None)
    assert profiler.prepared.layers.network_pooling == reduction
    torch.testing.assert_close(
        features, classifier_input(model, model.get_classifier(), pictures), rtol=1e-4, atol=1e-5
    )


def test_the_class_token_of_an_encoder_is_read():
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=30, num_labels=3, **TEXT)
    model = transformers.BertForSequenceClassification(config).eval()
    ids, mask = texts()
    inputs = {"input_ids": ids, "attention_mask": mask}
    features, _ = read(model, {**inputs, "labels": LABELS})
    with torch.no_grad():
        pooled = model.bert.pooler.dense(features).tanh()
    torch.testing.assert_close(pooled, classifier_input(model, model.classifier, inputs))


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_decoder_is_read_at_the_token_that_it_picks(masked, outputs):
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
    model = transformers.GPT2ForSequenceClassification(
        transformers.GPT2Config(**sizes, num_labels=max(outputs, 2), pad_token_id=0)
    ).eval()
    ids, mask = texts(end=4)
    inputs = {"input_ids": ids, **({"attention_mask": mask} if masked else {})}
    features, profiler = read(model, {**inputs, "labels": LABELS}, "transformer.ln_f")
    with torch.no_grad():
        torch.testing.assert_close(model.score(features), model(**inputs).logits)
    assert profiler.prepared.layers.network_pooling == "last"


@pytest.mark.parametrize(("pad", "masked"), [(0, False), (29, False), (0, True), (29, True)])
def test_the_text_tower_of_clip_is_read_at_its_end_token(pad, masked):
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        **TEXT, vocab_size=30, max_position_embeddings=16, bos_token_id=1, eos_token_id=29, pad_token_id=pad
    )
    model = transformers.CLIPTextModel(config).eval()
    ids, mask = texts(29, pad)
    inputs = {"input_ids": ids, **({"attention_mask": mask} if masked else {})}
    features, profiler = read(model, {**inputs, "labels": LABELS}, "*final_layer_norm")
    with torch.no_grad():
        torch.testing.assert_close(features, model(**inputs).pooler_output)
    assert profiler.prepared.layers.network_pooling == ("last" if masked else "eos")


def test_each_tower_is_pooled_in_its_own_way():
    torch.manual_seed(0)
    text = {**TEXT, "vocab_size": 30, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 29}
    vision = {**TEXT, "image_size": 32, "patch_size": 8}
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision)).eval()
    batch = {"input_ids": texts()[0], "pixel_values": torch.randn(6, 3, 32, 32), "labels": LABELS}
    profiler = Profiler(model, [batch], settings=Settings(metrics="feature_norm"))
    stated = {reading.name: reading.stated for reading in profiler.readings}
    assert stated["vision_model.encoder.layers.1"] == "cls"
    assert stated["text_model.encoder.layers.1"] == "eos"


class Recurrent(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.embed, self.net = nn.Embedding(30, 8), nn.LSTM(8, 12, layers, batch_first=True)
        self.classifier = nn.Linear(12, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.classifier(self.net(self.embed(ids))[1][0][-1])


@pytest.mark.parametrize("layers", [1, 2])
def test_the_last_hidden_state_of_a_recurrent_network_is_its_last_token(layers):
    torch.manual_seed(0)
    model, ids = Recurrent(layers).eval(), texts()[0]
    features, profiler = read(model, (ids, LABELS), "embed")
    assert profiler.prepared.layers.network_pooling == "last"
    torch.testing.assert_close(features, model.embed(ids)[:, -1].detach())


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("pool", "reduction"),
    [
        (masked_mean, "mean"),
        (lambda x, mask: x.masked_fill(mask[..., None] == 0, -1e9).amax(1), "max"),
        (lambda x, mask: x[torch.arange(len(x)), mask.sum(1) - 1], "last"),
        (lambda x, mask: x[:, 0], "cls"),
    ],
)
def test_padding_counts_in_no_pooling(pool, reduction):
    model = tokens(pool)
    ids, mask = texts()
    inputs = {"input_ids": ids, "attention_mask": mask}
    features, profiler = read(model, {**inputs, "labels": LABELS}, "below.1")
    assert profiler.prepared.layers.network_pooling == reduction
    torch.testing.assert_close(features, classifier_input(model, model.classifier, inputs))


@pytest.mark.parametrize(
    "pool",
    [
        lambda x, mask: x.mean(1),
        lambda x, mask: x[:, -1],
        lambda x, mask: x.amax(1),
        lambda x, mask: (x * mask[..., None]).sum(1),
        lambda x, mask: x[:, 0] + masked_mean(x, mask),
        lambda x, mask: (x * x.sum(-1, keepdim=True).softmax(1)).sum(1),
    ],
    ids=["mean with padding", "last with padding", "max with padding", "sum", "two ways", "attention"],
)
def test_an_unknown_pooling_is_logged_once(pool, caplog):
    ids, mask = texts()
    with caplog.at_level(logging.WARNING):
        ds = profile(
            tokens(pool),
            [{"input_ids": ids, "attention_mask": mask, "labels": LABELS}],
            metrics="feature_norm",
            layers="leaves",
            check=False,
        )
    assert sum("differs from it" in record.getMessage() for record in caplog.records) == 1
    assert ds.attrs["network_pooling"].startswith("not followed")


@pytest.mark.parametrize("pool", ["map", "avgmax"])
def test_attention_pooling_is_logged(pool, caplog):
    model = timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=3, global_pool=pool, class_token=False)
    with caplog.at_level(logging.WARNING):
        _, profiler = read(model.eval(), (torch.randn(6, 3, 224, 224), LABELS))
    assert profiler.prepared.layers.network_pooling.startswith("not followed")
    assert len(caplog.records) == 1


def test_wide_flattened_maps_are_averaged_and_logged(caplog):
    with caplog.at_level(logging.WARNING):
        features, profiler = read(maps(lambda x: x.flatten(1), 6 * 62 * 62), (torch.randn(6, 3, 64, 64), LABELS))
    assert (features.shape, profiler.prepared.layers.network_pooling) == ((6, 6), "not followed: flatten")
    assert "flattens" in caplog.text


def test_a_fixed_position_in_padding_is_logged(caplog):
    ids, mask = texts()
    batch = {"input_ids": ids.flip(1), "attention_mask": mask.flip(1), "labels": LABELS}
    model = tokens(lambda x, mask: x[:, 0])
    with caplog.at_level(logging.WARNING):
        features, _ = read(model, batch, "below.1")
    first = batch["attention_mask"].argmax(1)
    torch.testing.assert_close(features, model.below(batch["input_ids"])[torch.arange(6), first].detach())
    assert "takes 'cls', which differs" in caplog.text


def test_a_requested_reduction_is_not_logged(caplog):
    ids, mask = texts()
    batch = {"input_ids": ids, "attention_mask": mask, "labels": LABELS}
    with caplog.at_level(logging.WARNING):
        read(tokens(lambda x, mask: x.mean(1)), batch, "below.1", reduce="mean")
    assert not caplog.records


def test_the_end_token_is_known_or_refused():
    ids, mask = texts()
    batch = {"input_ids": ids, "attention_mask": mask, "labels": LABELS}
    with pytest.raises(InvalidData, match="nothing says which"):
        read(tokens(masked_mean), batch, "below.1", reduce="eos")
    model = transformers.BertModel(transformers.BertConfig(vocab_size=30, eos_token_id=29, **TEXT)).eval()
    features, _ = read(model, batch, "encoder.layer.1", reduce="eos")
    last, _ = read(model, batch, "encoder.layer.1", reduce="last")
    torch.testing.assert_close(features, last)


def test_poolings_are_measured_on_the_shortest_and_longest_text() -> None:
    lengths = torch.tensor([3, 2, 2, 2, 4, 3, 9])
    mask = (torch.arange(9) < lengths[:, None]).long()
    few = unlike_samples(Batch(mask, {}, len(mask), mask))
    assert {2, 9} <= set(few.mask.sum(1).tolist())
    assert few.size == 4
