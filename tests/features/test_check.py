"""The check before every run: what it catches, what it leaves alone, and what it leaves behind."""

from __future__ import annotations

import logging
import warnings

import pytest
import timm
import torch
from helpers.networks import Perceptron, blobs
from torch import Tensor, nn
from torch.nn.functional import batch_norm, dropout
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, Wav2Vec2Config, Wav2Vec2Model

from layerwise.errors import BatchDependence, InvalidData
from layerwise.network.graph import axes
from layerwise.network.layer import Axes
from layerwise.profiling import profile
from layerwise.training.tracker import Tracker

KINDS = [torch.float32, torch.bfloat16, torch.float16]
SMALL = {"vocab_size": 100, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}


def checked(network: nn.Module, data: list[object], **options: object) -> str:
    return profile(network, data, metrics=["nc1_trace"], **options).attrs["checked"]


class Spoilt(nn.Module):
    """A perceptron whose second block is spoilt by something."""

    def __init__(self, spoil: nn.Module) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(16, 16), spoil, nn.ReLU())
        self.classifier = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.second(self.first(inputs)))


class NormOfTheBatch(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return batch_norm(inputs, None, None, training=True)


class LeftInDropout(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return dropout(inputs, 0.1, training=True)


class Capacity(nn.Module):
    """An expert takes the first two samples that come, and no more."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.where((torch.arange(len(inputs)) < 2)[:, None], 2 * inputs, inputs)


class Mixing(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + inputs.roll(1, 0)


class Remembering(nn.Module):
    """A state that is kept between batches."""

    def __init__(self) -> None:
        super().__init__()
        self.state: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        before = 0.0 if self.state is None else self.state
        self.state = inputs.mean(0)
        return inputs + before


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("spoil", [NormOfTheBatch, LeftInDropout, Capacity, Mixing, Remembering])
def test_features_that_depend_on_other_samples_are_refused(spoil: type[nn.Module], kind: torch.dtype) -> None:
    torch.manual_seed(0)
    inputs, labels = blobs()
    with pytest.raises(BatchDependence, match=r"layer 'second.*' differs by \d+% of the spread.*check=False"):
        checked(Spoilt(spoil()).to(kind), [(inputs.to(kind), labels)])


@pytest.mark.parametrize("spoil", [NormOfTheBatch, LeftInDropout, Remembering])
def test_the_check_can_be_switched_off(spoil: type[nn.Module]) -> None:
    assert checked(Spoilt(spoil()), [blobs()], check=False) == "no: check=False"


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_training_mode_passes_silently(name: str, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, drop_rate=0.5, num_classes=2, **({"img_size": 32} if "vit" in name else {}))
    pictures = torch.randn(6, 3, 32, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attribute = checked(network.train().to(kind), [(pictures.to(kind), torch.arange(6) % 2)])
    assert attribute.startswith("features differ by at most")
    assert network.training


def test_a_wrong_axis_of_samples_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(axes, "sample_axis", lambda shape, more: Axes(samples=0, measured=True))
    layer = nn.TransformerEncoderLayer(8, 2, 8)
    network = nn.Sequential(nn.Linear(3, 8), Turned(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)))
    with pytest.raises((BatchDependence, InvalidData), match="samples beside it|does not keep samples apart"):
        checked(network, [(torch.randn(6, 4, 3), torch.arange(6) % 2)], layers=["1.inner.layers.0"])


class Turned(nn.Module):
    """A module of torch's own layout: sequence first."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs.transpose(0, 1)).mean(0)


def test_padding_without_a_mask_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("layerwise.features.reading.mask_of_layer", lambda *_, **__: None)
    torch.manual_seed(0)
    with caplog.at_level(logging.WARNING, "layerwise"):
        attribute = checked(Careless("nothing"), [texts("right")], reduce="mean", layers=["first", "second"])
    assert attribute.startswith("padding changes features")
    assert any("differs: this network sees padding there" in line for line in caplog.messages)


def texts(side: str, count: int = 24) -> dict[str, Tensor]:
    """Texts of unequal length, padded on one side; words tell the class."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 11, (count, 1), generator=generator)
    right = (torch.arange(10) < lengths).long()
    words = torch.randint(5, 98, (count, 10), generator=generator)
    mask = right if side == "right" else right.flip(1)
    ids = torch.zeros_like(words)
    ids[mask == 1] = words[right == 1]
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(count) % 2}


def decoder() -> nn.Module:
    torch.manual_seed(0)
    return GPT2Model(GPT2Config(**SMALL, bos_token_id=0, eos_token_id=0)).eval()


def test_padding_in_front_that_moves_positions_is_refused() -> None:
    with pytest.raises(BatchDependence, match="padding leaks into the features.*give position_ids, or pad behind"):
        checked(decoder(), [texts("left")])


def test_padding_in_front_with_position_ids_passes() -> None:
    left = texts("left")
    positions = (left["attention_mask"].cumsum(1) - 1).clamp_min(0)
    values = [
        profile(decoder(), [data], metrics=["nc1_trace"])["nc1_trace"].sel(layer="h.1").values
        for data in (texts("right"), {**left, "position_ids": positions})
    ]
    torch.testing.assert_close(torch.from_numpy(values[0]), torch.from_numpy(values[1]), rtol=1e-4, atol=1e-6)


class Careless(nn.Module):
    """Takes a mask for its first attention, and forgets it in the second or in the pooling."""

    def __init__(self, forgets: str) -> None:
        super().__init__()
        self.forgets = forgets
        self.embed = nn.Embedding(100, 16)
        self.first = nn.TransformerEncoderLayer(16, 2, 16, batch_first=True)
        self.second = nn.TransformerEncoderLayer(16, 2, 16, batch_first=True)
        self.pool, self.fc = nn.Identity(), nn.Linear(16, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.first(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        hidden = self.second(hidden, src_key_padding_mask=None if self.forgets == "second" else attention_mask == 0)
        weight = torch.ones_like(attention_mask) if self.forgets == "pooling" else attention_mask
        return self.fc(self.pool((hidden * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)))


def test_a_mask_that_does_not_reach_an_attention_is_refused() -> None:
    torch.manual_seed(0)
    with pytest.raises(BatchDependence, match=r"with 2 more tokens of padding, layer 'second.self_attn.*' differs"):
        checked(Careless("second"), [texts("right")])


def test_pooling_over_padding_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    with caplog.at_level(logging.WARNING, "layerwise"):
        assert "from layer 'pool' on, by the network's design" in checked(Careless("pooling"), [texts("right")])
    assert [line for line in caplog.messages if "layer 'pool' differs: this network sees padding there" in line]


def test_padding_seen_by_design_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
        **{"conv_dim": [16] * 3, "conv_stride": [5, 4, 4], "conv_kernel": [10, 8, 4], "feat_extract_norm": "group"},
        **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "vocab_size": 20},
    )
    mask = (torch.arange(3000) < torch.randint(800, 3000, (24, 1))).long()
    data = [{"input_values": torch.randn(24, 3000) * mask, "attention_mask": mask, "labels": torch.arange(24) % 2}]
    with caplog.at_level(logging.WARNING, "layerwise"):
        assert "by the network's design" in checked(Wav2Vec2Model(config).eval(), data)
    assert [line for line in caplog.messages if "sees padding there, whatever the mask" in line]


def test_padding_stays_within_the_positions_of_the_network() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        **{"vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"intermediate_size": 32, "max_position_embeddings": 10},
    )
    assert "padding" not in checked(BertModel(config, add_pooling_layer=False).eval(), [texts("right")])


def test_samples_that_cannot_run_alone_are_recorded_as_unchecked(caplog: pytest.LogCaptureFixture) -> None:
    class Graph(nn.Module):
        """One graph, its nodes are the samples."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.fc = nn.Linear(8, 16), nn.Linear(16, 3)

        def forward(self, inputs: Tensor, edges: Tensor) -> Tensor:
            hidden = self.first(inputs)
            return self.fc(torch.zeros_like(hidden).index_add_(0, edges[1], hidden[edges[0]]).relu())

    inputs, labels = blobs()
    edges = torch.randint(0, 60, (2, 300))
    edges[:, 0] = 59
    with caplog.at_level(logging.WARNING, "layerwise"):
        assert checked(Graph(), [((inputs, edges), labels)]) == "not checked: a few samples cannot run alone"
    assert any("nothing was checked" in line for line in caplog.messages)


def test_random_numbers_buffers_and_attributes_are_restored() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls, self.seen = Perceptron(), 0, []
            self.register_buffer("total", torch.zeros(()))

        def forward(self, inputs: Tensor) -> Tensor:
            self.calls += 1
            self.seen.append(len(inputs))
            self.total += inputs.sum().detach()
            return self.inner(inputs)

    inputs, labels = blobs()
    counted, unchecked = Counting(), Counting()
    unchecked.load_state_dict(counted.state_dict())
    torch.manual_seed(7)
    profile(counted, [(inputs, labels)], metrics=["nc1_trace"])
    drawn = torch.rand(3)
    torch.manual_seed(7)
    profile(unchecked, [(inputs, labels)], metrics=["nc1_trace"], check=False)
    assert torch.equal(torch.rand(3), drawn)
    assert (counted.calls, counted.seen) == (unchecked.calls, unchecked.seen)
    assert torch.equal(counted.total, unchecked.total)


def test_it_runs_once_and_on_few_samples() -> None:
    network, runs = Perceptron(), []
    network.register_forward_hook(lambda module, args, output: runs.append(len(output)))
    with Tracker(network, [blobs()], metrics=["nc1_trace"]) as tracker:
        tracker.measure(0)
        tracker.measure(1)
    # Traced and measured on two and three, pooled on four; checked on four, one and four; then the data, twice.
    assert runs == [2, 3, 4, 4, 1, 4, 60, 60]
