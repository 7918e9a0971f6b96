"""Metrics of the maps beside a layer: equal to the oracle, with the laws and limits that their formulas have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import oracle
from helpers.networks import Perceptron, blobs, loader
from torch import nn

from layerwise import profile
from layerwise.metrics import compute, get, metric, registry
from layerwise.network.graph.map_weights import Weights
from layerwise.statistics import Moments

WEIGHTS = ("weight_stable_rank", "condition_number", "balancedness")


def measure(name: str, reading: np.ndarray, giving: np.ndarray | None = None, resolution: float = 2.0**-52) -> float:
    return float(compute(get(name), {"weights": Weights(reading, giving, resolution)}, 0))


def rotation(width: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]


@pytest.mark.parametrize("shape", [(3, 8), (8, 8), (20, 8), (1, 8)])
@pytest.mark.parametrize("inputs", [2, 8, 30])
def test_wide_and_tall_maps_equal_the_oracle(shape, inputs):
    generator = np.random.default_rng(0)
    reading, giving = generator.standard_normal(shape), generator.standard_normal((8, inputs))
    expected = {
        "weight_stable_rank": oracle.weight_stable_rank(reading),
        "condition_number": oracle.condition_number(reading),
        "balancedness": oracle.balancedness(giving, reading),
    }
    for name in WEIGHTS:
        assert measure(name, reading, giving) == pytest.approx(expected[name], rel=1e-10)


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e4, 1e8, 1e12])
@pytest.mark.parametrize("shape", [(20, 8), (8, 8), (8, 20)])
def test_a_badly_conditioned_map_has_exact_singular_values(shape, condition):
    values = np.geomspace(1.0, 1 / condition, 8)
    left, right = rotation(shape[0], 6)[:, :8], rotation(shape[1], 7)[:, :8]
    singular, directions = Weights((left * values) @ right.T).decomposition
    # Exact to the rounding of the map itself, which is 1e-16 of its largest singular value.
    assert singular == pytest.approx(values, rel=1e-9, abs=1e-15)
    # The widest directions, which an alignment looks at, up to their signs.
    assert np.abs((directions[:3] @ right[:, :3]).diagonal()) == pytest.approx(np.ones(3), abs=1e-12)


@pytest.mark.parametrize("name", WEIGHTS)
def test_scale_and_a_rotation_of_the_features_change_nothing(name):
    generator = np.random.default_rng(1)
    reading, giving, turn = generator.standard_normal((5, 6)), generator.standard_normal((6, 4)), rotation(6, 2)
    plain = measure(name, reading, giving)
    assert measure(name, 1e9 * reading @ turn.T, 1e9 * turn @ giving) == pytest.approx(plain, rel=1e-10)


def test_maps_of_one_middle_are_balanced():
    middle, left, right = rotation(6, 3), rotation(5, 4), rotation(7, 5)
    values = np.zeros((6, 7))
    values[:4, :4] = np.diag([8.0, 4.0, 2.0, 1.0])
    assert measure("balancedness", left @ values[:5, :6] @ middle.T, middle @ values @ right.T) < 1e-14


def test_maps_without_a_common_direction_are_unbalanced():
    assert measure("balancedness", np.diag([1.0, 0.0]), np.diag([0.0, 3.0])) == pytest.approx(1.0)


def test_zeros_of_a_map_of_low_rank_are_left_out():
    values = np.array([8.0, 2.0, 0.0, 0.0])
    matrix = rotation(4, 0) * values @ rotation(4, 1)
    assert measure("condition_number", matrix) == pytest.approx(4.0)
    assert measure("weight_stable_rank", matrix) == pytest.approx(68 / 64)
    noise = 1e-8 * np.random.default_rng(2).standard_normal((4, 4))
    assert measure("condition_number", matrix + noise) > 1e7
    assert measure("condition_number", matrix + noise, resolution=2.0**-23) == pytest.approx(4.0, rel=1e-6)


def test_a_zero_map_is_nan():
    for name in WEIGHTS:
        assert np.isnan(measure(name, np.zeros((3, 4)), np.zeros((4, 2)))), name


def test_without_a_map_before_the_layer_only_balance_is_nan():
    assert np.isnan(measure("balancedness", np.eye(3)))
    assert measure("condition_number", np.eye(3)) == 1.0
    assert all(np.isnan(compute(get(name), {"weights": None}, 0)) for name in WEIGHTS)


def test_a_profile_names_the_map_and_has_no_split():
    torch.manual_seed(0)
    net, data = Perceptron(), loader(*blobs())
    ds = profile(net, {"train": data, "test": data}, layers="blocks")
    for name in WEIGHTS:
        assert ds[name].dims == ("epoch", "layer"), name
    assert ds["next_map"].values.tolist() == ["second.0", "classifier", ""]
    first, second, classifier = (
        item.weight.detach().double().numpy() for item in (net.first[0], net.second[0], net.classifier)
    )
    expected = [oracle.balancedness(first, second), oracle.balancedness(second, classifier), np.nan]
    np.testing.assert_allclose(ds["balancedness"].values[0], expected, rtol=1e-6)
    np.testing.assert_allclose(ds["condition_number"].values[0, 0], oracle.condition_number(second), rtol=1e-6)
    np.testing.assert_allclose(ds["weight_stable_rank"].values[0, 1], oracle.weight_stable_rank(classifier), rtol=1e-6)


def test_a_layer_under_random_projection_names_no_map():
    ds = profile(Perceptron(), loader(*blobs()), layers="blocks", reduce="sketch:4", metrics=[*WEIGHTS])
    assert set(ds["next_map"].values.tolist()) == {""}
    assert all(ds[name].isnull().all() for name in WEIGHTS)


def test_a_metric_of_the_caller_receives_the_map_of_each_layer(monkeypatch):
    monkeypatch.setattr("layerwise.metrics.registry._REGISTRY", dict(registry._REGISTRY))

    @metric("outputs of the next map", direction="none")
    def outputs_of_next_map(moments: Moments, next_map: np.ndarray) -> float:
        return float(len(next_map))

    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    ds = profile(network, [(torch.randn(30, 4), torch.arange(30) % 3)], metrics="outputs_of_next_map")
    assert ds["outputs_of_next_map"].isel(layer=0).item() == 3
