"""Regression: the directions of the targets that are learnt, how strongly, and when they drop."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.agreement import RELATIVE, difference, outputs
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.theory import OutOfRange, regression_minimiser
from layerwise.theory.optimise import solve_many
from layerwise.theory.problems import network


def made_up(samples: int, deviations: tuple[float, ...], seed: int = 0) -> np.ndarray:
    """Targets whose covariance has exactly these standard deviations along random axes, and a mean far off."""
    generator = np.random.default_rng(seed)
    width = len(deviations)
    raw = generator.standard_normal((samples, width))
    columns = np.linalg.qr(raw - raw.mean(0))[0]
    axes = np.linalg.qr(generator.standard_normal((width, width)))[0]
    return np.sqrt(samples) * (columns * deviations) @ axes.T + 3 * generator.standard_normal(width)


def check(targets, weight_decay, feature_decay, starts=2):
    samples, width = targets.shape
    predicted = regression_minimiser(targets, weight_decay, feature_decay, dimension=width + 1)
    problem = network(targets, [width + 1], [weight_decay], feature_decay / samples, bias=True)
    for solution in solve_many(problem, starts):
        point = solution.point
        assert abs(solution.loss - predicted.loss) <= RELATIVE * predicted.loss
        assert difference(outputs(point) + point["bias"], predicted.outputs) <= 1
        assert difference(point["weight"] @ point["weight"].T, predicted.weight_gram) <= 1
        assert difference(point["features"] @ point["features"].T, predicted.feature_gram) <= 1
        assert difference(point["bias"], predicted.bias) <= 1
    return predicted


@pytest.mark.parametrize("deviations", [(1.0,), (2.0, 1.0), (1.5, 1.0, 0.4), (1.0, 1.0, 0.5)])
@pytest.mark.parametrize("balance", [0.2, 3.0])
@pytest.mark.parametrize("cost", [0.05, 0.39, 0.41, 0.98, 1.02, 2.1])
def test_every_random_start_reaches_the_predicted_minimiser(deviations, balance, cost):
    predicted = check(made_up(7, deviations), cost * balance, cost / balance)
    assert predicted.kept == sum(deviation > cost for deviation in deviations)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0.1, 3), min_size=1, max_size=3), st.floats(0.05, 2), st.floats(0.1, 10), st.integers(0, 100))
def test_any_parameters_reach_the_predicted_minimiser(deviations, cost, balance, seed):
    if all(abs(deviation / cost - 1) > 0.01 for deviation in deviations):
        check(made_up(5, tuple(deviations), seed), cost * balance, cost / balance, starts=1)


def test_the_residual_is_whitened_targets_while_every_direction_is_kept():
    targets = made_up(9, (2.0, 1.0))
    centred = targets - targets.mean(0)
    values, axes = np.linalg.eigh(centred.T @ centred / 9)
    predicted = regression_minimiser(targets, 0.3, 0.3)
    expected = -0.3 * centred @ (axes / np.sqrt(values)) @ axes.T
    np.testing.assert_allclose(predicted.outputs - targets, expected, atol=1e-12)


def test_directions_drop_one_by_one_as_regularisation_passes_their_eigenvalues():
    targets = made_up(9, (2.0, 1.0, 0.5))
    kept = [regression_minimiser(targets, cost, cost).kept for cost in (0.49, 0.51, 0.99, 1.01, 1.99, 2.01)]
    assert kept == [3, 2, 2, 1, 1, 0]


def test_targets_of_lower_rank_are_learnt_in_their_own_directions():
    targets = made_up(9, (2.0, 1.0, 0.5)) @ np.eye(3, 5)
    predicted = check(targets, 0.1, 0.2)
    assert predicted.kept == 3
    assert np.linalg.matrix_rank(predicted.weight_gram) == 3


def test_without_weight_decay_the_starts_end_anywhere():
    targets = made_up(6, (1.0, 0.5))
    ends = solve_many(network(targets, [4], [0.0], bias=True), 2)
    assert max(end.loss for end in ends) < 1e-12
    grams = [end.point["features"] @ end.point["features"].T for end in ends]
    assert np.linalg.norm(grams[0] - grams[1]) > 0.1 * np.linalg.norm(grams[0])
    assert all(np.linalg.matrix_rank(end.point["features"]) == 4 for end in ends)


@pytest.mark.parametrize(
    ("change", "assumption"),
    [
        ({"weight_decay": 0.0}, "weight_decay > 0"),
        ({"feature_decay": -1.0}, "feature_decay > 0"),
        ({"dimension": 1}, "d >= 2 here"),
        ({"targets": np.ones(3)}, r"targets of shape \(N, q\)"),
        ({"targets": np.full((3, 2), np.nan)}, "finite targets"),
    ],
)
def test_parameters_outside_the_theorem_are_errors(change, assumption):
    given = {"targets": made_up(6, (1.0, 0.5)), "weight_decay": 0.1, "feature_decay": 0.1}
    with pytest.raises(OutOfRange, match=assumption):
        regression_minimiser(**(given | change))
