"""Statistics of a device without float64 are kept on the CPU, and are what they are there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import xarray as xr
from helpers.networks import Perceptron, blobs, loader
from helpers.positions import Tagger, of_texts, texts
from helpers.regression_data import batches, teacher
from helpers.single_precision import on_device, single_precision_device
from torch import Tensor, nn

from layerwise.profiling import profile
from layerwise.profiling.similarity import similarity

Measure = Callable[[nn.Module], xr.Dataset]


class Pooled(nn.Module):
    """Tokens, a pooling, and a classifier."""

    def __init__(self, pool: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.embedding, self.linear, self.classifier = nn.Embedding(12, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.pool = pool

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.classifier(self.pool(self.linear(self.embedding(input_ids)), input_ids, attention_mask))


def masked_mean(tokens: Tensor, _ids: Tensor, mask: Tensor) -> Tensor:
    weight = mask[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1)


def at_largest_id(tokens: Tensor, ids: Tensor, _mask: Tensor) -> Tensor:
    return tokens.gather(1, ids.argmax(1)[:, None, None].expand(-1, -1, tokens.shape[2]))[:, 0]


@pytest.fixture
def perceptron() -> Perceptron:
    torch.manual_seed(0)
    return Perceptron()


def check_both_alike(model: nn.Module, measure: Measure) -> None:
    """Compare what is measured on the CPU and on a device without float64."""
    plain = measure(model)
    with single_precision_device():
        single = measure(on_device(model))
    assert single.attrs.get("device", "mps") == "mps"
    xr.testing.assert_allclose(plain, single, rtol=1e-9)


@pytest.mark.parametrize("reduce", ["auto", "sketch:4"])
def test_classes_are_measured_without_float64(perceptron: Perceptron, reduce: str) -> None:
    train, test = loader(*blobs(40)), loader(*blobs(40, seed=1))
    options = {"jackknife": 3, "null": 2, "reduce": reduce}
    check_both_alike(perceptron, lambda model: profile(model, {"train": train, "test": test}, **options))


def test_targets_of_double_precision_are_measured_without_float64(perceptron: Perceptron) -> None:
    inputs, targets = teacher()
    targets[3] = torch.nan
    data = batches(inputs, {"far": targets, "class": targets[:, 0] > 0})
    check_both_alike(perceptron, lambda model: profile(model, data, jackknife=3, nonfinite="drop"))


def test_tokens_are_measured_without_float64() -> None:
    torch.manual_seed(0)
    data = of_texts(*texts())
    check_both_alike(Tagger(), lambda model: profile(model, data, reduce="tokens", jackknife=3))


@pytest.mark.parametrize("pool", [masked_mean, at_largest_id])
def test_pooling_is_found_without_float64(pool: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    ids, mask, labels = texts()
    data = of_texts(ids, mask, labels[:, 0].clamp_min(0))
    check_both_alike(Pooled(pool), lambda model: profile(model, data))


def test_layers_are_compared_without_float64(perceptron: Perceptron) -> None:
    data = loader(*blobs(40))
    check_both_alike(perceptron, lambda model: similarity(model, data))


def test_complexity_is_measured_without_float64(perceptron: Perceptron) -> None:
    data = loader(*blobs(20))
    check_both_alike(perceptron, lambda model: profile(model, data, metrics="geometric_complexity"))
