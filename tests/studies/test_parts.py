"""The text data, the small networks and the few-shot accuracy that studies share are what they say."""

from __future__ import annotations

import pytest
import torch

from layerwise import profile
from layerwise.errors import UnknownName
from layerwise.studies.complexity_and_transfer import few_shot_accuracy
from layerwise.studies.data import load_texts
from layerwise.studies.networks import ResNet, TextTransformer, VisionTransformer
from layerwise.studies.networks.pretrained import load_pretrained
from layerwise.studies.training import Mixup, mixed


def test_texts_become_numbers_of_the_commonest_words_of_the_training_split(tmp_path):
    rows = ["text,label", *["Good good good film,1", "bad film,0"] * 8]
    (tmp_path / "texts.csv").write_text("\n".join(rows), encoding="utf-8")
    splits = load_texts(f"csv:{tmp_path / 'texts.csv'}?text=text&label=label&test=0.25", words=2, length=5)
    assert {split: len(numbers) for split, (numbers, _) in splits.items()} == {"train": 12, "test": 4}
    for numbers, labels in splits.values():
        expected = {0: [1, 3, 0, 0, 0], 1: [2, 2, 2, 3, 0]}
        assert numbers.tolist() == [expected[label] for label in labels.tolist()]


def test_padding_changes_nothing_and_the_profile_reads_the_class_token():
    torch.manual_seed(0)
    network = TextTransformer(50, classes=2, length=6, width=16, depth=2)
    words = torch.randint(1, 50, (8, 6))
    words[:, 4:] = 0
    scores = network(words)
    with torch.no_grad():
        network.words.weight[0] += 1
        network.places[4:] += 1
    torch.testing.assert_close(network(words), scores)
    ds = profile(network, [(words, torch.arange(8) % 2)], metrics="nc1_trace")
    assert ds["layer"].values.tolist()[1:3] == ["blocks.0", "blocks.1"]
    assert set(ds["reduction"].sel(layer=["blocks.0", "blocks.1"]).values) == {"cls"}


def test_a_vision_transformer_sees_each_patch_and_the_profile_reads_its_class_token():
    torch.manual_seed(0)
    network = VisionTransformer((1, 8, 8), classes=2, patch=4, width=16, depth=2)
    pictures = torch.randn(8, 64, requires_grad=True)
    (slope,) = torch.autograd.grad(network(pictures).sum(), pictures)
    assert (slope.view(8, 2, 4, 2, 4).abs().sum((2, 4)) > 0).all()
    ds = profile(network, [(pictures.detach(), torch.arange(8) % 2)], metrics="nc1_trace", layers="blocks.*")
    assert set(ds["reduction"].values) == {"cls"}


def test_a_resnet_has_three_stages_each_half_as_high_and_twice_as_wide():
    network = ResNet(classes=4, blocks=2, width=4, channels=1).eval()
    ds = profile(network, [(torch.randn(8, 1, 8, 8), torch.arange(8) % 4)], metrics="nc1_trace")
    blocks = [name for name in ds["layer"].values.tolist() if name.startswith("layer")]
    assert blocks == [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1)]
    assert ds["shape"].sel(layer=["layer1.1", "layer2.1", "layer3.1"]).values.tolist() == ["4x8x8", "8x4x4", "16x2x2"]


def test_a_pretrained_network_is_had_by_a_short_name_or_by_any_model_name(tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERWISE_REAL_DATA", str(tmp_path))
    with pytest.raises(UnknownName, match="no pretrained network 'resnet5'; nearest: resnet56"):
        load_pretrained("resnet5")
    with pytest.raises(UnknownName, match="resnet56_cifar10.pth"):
        load_pretrained("resnet56")
    assert type(load_pretrained("timm/test_resnet?pretrained=0")).__name__ == "ResNet"


def test_mixup_trains_on_mixtures_of_pairs_and_evaluates_the_network_itself():
    torch.manual_seed(0)
    network, inputs = torch.nn.Linear(3, 2, bias=False), torch.randn(6, 3)
    wrapped = Mixup(network)
    made = wrapped(inputs)
    # Of a linear map the mixture of outputs is that of the mixture, and so is a loss that is linear in them.
    expected = made.share * network(inputs) + (1 - made.share) * network(inputs[made.order])
    torch.testing.assert_close(made.outputs, expected)
    targets = torch.arange(6.0)
    loss = mixed(lambda outputs, wanted: (outputs[:, 0] * wanted).mean())(made, targets)
    wanted = made.share * targets + (1 - made.share) * targets[made.order]
    torch.testing.assert_close(loss, (expected[:, 0] * wanted).mean())
    assert 0 < float(made.share) < 1
    torch.testing.assert_close(wrapped.eval()(inputs), network(inputs))


def test_few_shot_accuracy_is_perfect_on_clusters_and_chance_on_noise():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    noise = torch.randn(300, 8, generator=generator)
    assert few_shot_accuracy(noise + 50 * labels[:, None], labels, 5, 10, generator) == 1
    assert abs(few_shot_accuracy(noise, labels, 5, 100, generator) - 1 / 3) < 0.03
