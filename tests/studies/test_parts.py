"""The text data, the text transformer and the few-shot accuracy that studies share are what they say."""

from __future__ import annotations

import torch

from layerwise import profile
from layerwise.studies.complexity_and_transfer import few_shot_accuracy
from layerwise.studies.data import load_texts
from layerwise.studies.networks import TextTransformer


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


def test_few_shot_accuracy_is_perfect_on_clusters_and_chance_on_noise():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    noise = torch.randn(300, 8, generator=generator)
    assert few_shot_accuracy(noise + 50 * labels[:, None], labels, 5, 10, generator) == 1
    assert abs(few_shot_accuracy(noise, labels, 5, 100, generator) - 1 / 3) < 0.03
