"""How differences of features are weighed against their spread and their rounding."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.networks import blobs
from torch import nn

from layerwise.features.choose_readings import readings_of
from layerwise.features.company import compare_company, difference
from layerwise.features.precision import roundings_of
from layerwise.network.graph.blocks import choose
from layerwise.network.kept_state import kept_state
from layerwise.network.resolve import find_network

VALUES = torch.tensor([[1.0, 2.0], [3.0, 6.0]], dtype=torch.float64)


def test_a_difference_is_in_units_of_the_spread() -> None:
    result = difference(VALUES + 0.5, VALUES, VALUES, rounding=0.01)
    assert result.distance == pytest.approx(0.5)
    assert result.spread == pytest.approx(math.sqrt((1 + 1 + 4 + 4) / 4))
    assert result.share == pytest.approx(0.5 / result.spread)
    assert result.rounding == pytest.approx(0.01 * math.sqrt(50 / 4))


def test_constant_features_differ_by_zero_or_infinity() -> None:
    same = torch.ones(3, 4, dtype=torch.float64)
    assert difference(same, same, same, rounding=1e-7).share == 0
    assert difference(same + 1, same, same, rounding=1e-7).share == math.inf
    assert not difference(same + 1e-9, same, same, rounding=1e-7).exceeds(0.05)


def test_one_sample_is_compared_with_its_own_size() -> None:
    alone = VALUES[:1]
    assert difference(alone + 0.1, alone, alone, rounding=1e-7).share == pytest.approx(0.1 / math.sqrt(2.5))
    assert not difference(alone + 1e-7, alone, alone, rounding=1e-7).exceeds(0.05)


def test_a_feature_finite_in_one_run_only_differs() -> None:
    gap = VALUES.clone()
    gap[0, 0] = torch.nan
    assert difference(gap, gap, VALUES, rounding=1e-7).distance == 0
    assert difference(gap, VALUES, VALUES, rounding=1e-7).exceeds(0.05)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_is_that_of_the_coarsest_type_and_grows_with_depth(kind: torch.dtype) -> None:
    network = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4))).to(kind)
    wrapped, _ = find_network(network, None)
    inputs, labels = blobs()
    traced = wrapped.trace(wrapped.batch((inputs.to(kind), labels)))
    roundings = roundings_of(network, traced.trace, choose(traced.trace, "all")[:4])
    half = torch.finfo(kind).eps / 2
    assert list(roundings.values()) == pytest.approx([half * math.sqrt(depth) for depth in (1, 2, 3, 4)])


def test_autocast_is_coarser_than_the_weights() -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    wrapped, _ = find_network(network, None)
    with torch.autocast("cpu", torch.bfloat16):
        traced = wrapped.trace(wrapped.batch(blobs()))
        roundings = roundings_of(network, traced.trace, choose(traced.trace, "all"))
    assert min(roundings.values()) >= torch.finfo(torch.bfloat16).eps / 2


@pytest.mark.parametrize("samples", [1, 2, 3, 60])
def test_any_number_of_samples_is_compared(samples: int) -> None:
    wrapped, _ = find_network(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)), None)
    batch = wrapped.batch(blobs(samples))
    traced = wrapped.trace(batch).trace
    readings = readings_of(wrapped, traced, choose(traced), batch, "auto", 0)
    company = compare_company(wrapped, readings, batch, {reading.name: 1e-7 for reading in readings})
    assert list(company.mixed) == [reading.name for reading in readings]
    assert not any(layer.exceeds(0.05) for layer in company.mixed.values())
    assert (company.padded, company.padding) == ({}, None)


class Keeping(nn.Module):
    """Changes everything that a module may keep."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(3))
        self.state: torch.Tensor | None = None
        self.held, self.calls, self.history, self.cache = torch.zeros(2), 0, [1], {"a": 1}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.average += 1
        self.state = inputs
        self.held.add_(1)
        self.calls += 1
        self.history.append(2)
        self.cache["b"] = 2
        self.fresh = inputs
        return inputs + torch.rand(())


def test_the_state_of_a_network_is_restored() -> None:
    network = Keeping()
    held, history = network.held, network.history
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with pytest.raises(KeyError), kept_state(network):
        network(torch.ones(2))
        raise KeyError
    assert torch.equal(torch.rand(2), expected)
    assert network.average.tolist() == [0, 0, 0]
    assert (network.state, network.calls, network.cache) == (None, 0, {"a": 1})
    assert network.held is held
    assert held.tolist() == [0, 0]
    assert network.history is history
    assert history == [1]
    assert not hasattr(network, "fresh")
