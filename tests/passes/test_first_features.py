"""The sums of the first features tell another forward from other rounding."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.networks import Perceptron, blobs
from torch import Tensor, nn

from layerwise.passes.first_features import changed_layers, first_features
from layerwise.profiling import Profiler
from layerwise.settings import Settings


def made(change: float = 0.0, rounding: torch.dtype | None = None) -> Perceptron:
    class Edited(Perceptron):
        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.first(inputs)
            hidden = hidden.to(rounding).to(hidden.dtype) if rounding is not None else hidden
            return self.classifier(self.second(hidden * (1 + change)))

    torch.manual_seed(0)
    return Edited()


def features(network: nn.Module, **options: object) -> tuple[dict[str, dict[str, object]], Profiler]:
    x, y = blobs()
    dtype = next(network.parameters()).dtype
    profiler = Profiler(network, [(x.to(dtype), y)], settings=Settings(metrics="nc1"))
    batch = profiler.network.adapter.batch((x.to(dtype), y), torch.device("cpu"))
    return first_features(profiler.network, profiler.readings, batch), profiler


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_same_network_has_changed_nothing_and_an_edited_one_what_comes_after(dtype: torch.dtype) -> None:
    before, profiler = features(made().to(dtype))
    again, _ = features(made().to(dtype))
    assert changed_layers(before, again, profiler.network) == []
    edited, _ = features(made(0.2).to(dtype))
    assert changed_layers(before, edited, profiler.network) == ["second", "classifier", "output"]


def test_rounding_in_single_precision_is_no_change_and_in_half_precision_is() -> None:
    before, profiler = features(made())
    rounded, _ = features(made(2.0**-23))
    assert changed_layers(before, rounded, profiler.network) == []
    coarse, _ = features(made(rounding=torch.bfloat16))
    assert changed_layers(before, coarse, profiler.network)[0] == "second"


def test_the_root_mean_square_of_a_change_is_that_of_its_sums() -> None:
    before, _ = features(made())
    after, _ = features(made(0.1))
    x, _ = blobs()
    exact = (
        (made(0.1).second(made().first(x[:8]) * 1.1) - made().second(made().first(x[:8])))
        .square()
        .mean()
        .sqrt()
        .detach()
    )
    pairs = zip(before["second"]["sums"], after["second"]["sums"], strict=True)  # type: ignore[call-overload]
    found = math.sqrt(sum((one - other) ** 2 for one, other in pairs) / 16)
    assert float(exact) / 2 < found < float(exact) * 2


def test_layers_that_are_others_are_named() -> None:
    before, profiler = features(made())
    fewer = {name: sums for name, sums in before.items() if name != "second"}
    assert changed_layers(before, fewer, profiler.network) == ["second"]
