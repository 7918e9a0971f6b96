"""A run reads the features of layers on the way, and returns the network's answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.networks import Perceptron
from torch import Tensor, nn

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData, LayerNeverFired
from layerwise.features.choose_readings import readings_of
from layerwise.features.read_features import reading_features
from layerwise.features.reading import LayerReading
from layerwise.network.graph.blocks import choose
from layerwise.network.layer import Layer
from layerwise.network.network import Network
from layerwise.network.resolve import find_network


def ready(model: nn.Module, layers: list[str], batch: Batch) -> tuple[Network, list[LayerReading]]:
    network, _ = find_network(model, None)
    trace = network.trace(batch).trace
    return network, readings_of(network, trace, choose(trace, layers), batch, "auto", seed=0)


def batch_of(samples: int = 6) -> Batch:
    return Batch(torch.randn(samples, 8, generator=torch.Generator().manual_seed(0)), {"class": torch.ones(samples)}, 6)


class Reading:
    """Keeps what is received, by layer."""

    def __init__(self) -> None:
        self.features: dict[str, Tensor] = {}

    def __call__(self, reading: LayerReading, features: Tensor) -> None:
        self.features[reading.name] = features.clone()


class Squeezing(nn.Module):
    """Drops the axis of the samples from a batch of one."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs).squeeze(0)


def test_features_and_answer_are_those_of_the_network():
    model, batch, receive = Perceptron().eval(), batch_of(), Reading()
    network, readings = ready(model, ["first", "second"], batch)
    with reading_features(network, readings, receive) as run:
        answer = run(batch)
    with torch.no_grad():
        first = model.first(batch.inputs)
        scores = model.classifier(model.second(first))
    torch.testing.assert_close(receive.features["first"], first)
    torch.testing.assert_close(receive.features["second"], model.second(first).detach())
    assert torch.equal(answer.predicted, scores.argmax(1))
    assert answer.scores == 3


def test_no_hook_is_left_behind():
    batch = batch_of()
    network, readings = ready(Perceptron(), ["first"], batch)
    with reading_features(network, readings, Reading()) as run:
        run(batch)
        assert network.model.first._forward_hooks
    assert not network.model.first._forward_hooks


def test_layers_with_scores_are_judges_and_are_not_received():
    batch, receive = batch_of(), Reading()
    network, readings = ready(Perceptron().eval(), ["first"], batch)
    judge = Layer("second")
    network = replace(network, scores=Layer("classifier"), judges=(judge,), heads={"class": "second"})
    with reading_features(network, readings, receive) as run:
        answer = run(batch)
    assert list(receive.features) == ["first"]
    assert answer.scores == 3
    assert answer.values["second"].shape == (6, 16)
    assert answer.of_target("class")[1] == 16


def test_a_sample_of_nothing_but_padding_is_refused():
    batch = batch_of()
    network, readings = ready(Perceptron(), ["first"], batch)
    mask = torch.ones(6, 4)
    mask[2] = 0
    with reading_features(network, readings, Reading()) as run, pytest.raises(InvalidData, match="1 of 6 samples"):
        run(replace(batch, mask=mask))


def test_an_output_that_loses_its_samples_is_an_error():
    batch = batch_of()
    network, readings = ready(Squeezing(), ["linear"], batch)
    one = replace(batch, inputs=batch.inputs[:1], labels={"class": torch.ones(1)}, size=1)
    with reading_features(network, readings, Reading()) as run:
        run(batch)
        with pytest.raises(InvalidData, match="one of 1 has none"):
            run(one)


def test_a_layer_that_does_not_fire_is_an_error():
    batch = batch_of()
    network, readings = ready(Perceptron(), ["first"], batch)
    network.model.forward = lambda inputs: network.model.classifier(network.model.second(inputs.repeat(1, 2)))
    with reading_features(network, readings, Reading()) as run, pytest.raises(LayerNeverFired, match="'first'"):
        run(batch)
