"""Deep linear heads: conditioning falls with depth, layers balance, and what is between them collapses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from helpers.agreement import RELATIVE, difference
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.theory import OutOfRange, linear_head, whitened_head
from layerwise.theory.optimise import Solution, best, solve, solve_many
from layerwise.theory.problems import class_means, labels_of, network


def made_up(samples, width, classes, seed=0):
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((samples, width)) * np.linspace(0.5, 2, width)
    return features, np.eye(classes)[labels_of([samples // classes] * classes)]


def layers(solution: Solution) -> list[np.ndarray]:
    return [solution.point[name] for name in (*sorted(set(solution.point) - {"weight"}), "weight")]


def product(solution: Solution) -> np.ndarray:
    matrices = layers(solution)
    found = matrices[0]
    for matrix in matrices[1:]:
        found = matrix @ found
    return found


def limit(features, targets, depth, inner=4):
    """Solution for weight decay 1e-8, reached by lowering it from a solution in which no direction has died."""
    widths = [features.shape[1], *[inner] * (depth - 1)]
    problem = network(targets, widths, [1e-3] * depth, features=features)
    solution = best(solve_many(problem, 3))
    for weight_decay in (1e-5, 1e-7, 1e-8):
        problem = network(targets, widths, [weight_decay] * depth, features=features)
        solution = solve(problem, solution.point, cutoff=1e-13)
    return solution


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(("samples", "width", "classes"), [(6, 8, 3), (4, 6, 2), (9, 4, 3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_layers_reach_the_predicted_conditioning_as_weight_decay_vanishes(depth, samples, width, classes, seed):
    features, targets = made_up(samples, width, classes, seed)
    predicted = linear_head(features, targets, depth)
    solution = limit(features, targets, depth)
    assert difference(product(solution), predicted.product) <= 1
    for matrix in layers(solution):
        values = np.linalg.svd(matrix, compute_uv=False)[:classes]
        np.testing.assert_allclose(values, predicted.singular_values, rtol=RELATIVE)
        assert values[0] / values[-1] == pytest.approx(predicted.condition_number, rel=RELATIVE)


def test_the_logarithm_of_the_condition_number_goes_with_one_over_the_depth():
    features, targets = made_up(6, 8, 3)
    depths = np.arange(1, 8)
    logs = np.log([linear_head(features, targets, depth).condition_number for depth in depths])
    np.testing.assert_allclose(logs, logs[0] / depths, rtol=1e-9)


def spread(features, samples, classes):
    counts = [samples // classes] * classes
    means = class_means(features, counts)
    within = ((features - np.repeat(means, counts, axis=0)) ** 2).sum(1).mean()
    return within / ((means - means.mean(0)) ** 2).sum(1).mean()


def test_the_input_of_the_last_layer_collapses_with_two_layers_and_stays_with_one():
    features, targets = made_up(6, 8, 3)
    assert spread(features, 6, 3) > 0.1
    first, _ = layers(limit(features, targets, 2))
    assert spread(features @ first.T, 6, 3) < 1e-9


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("weight_decay", [0.1, 1e-3])
def test_layers_are_balanced_at_every_weight_decay(depth, weight_decay):
    features, targets = made_up(6, 5, 3)
    problem = network(targets, [5, *[4] * (depth - 1)], [weight_decay] * depth, features=features)
    for solution in solve_many(problem, 2):
        matrices = layers(solution)
        for lower, upper in pairwise(matrices):
            assert np.abs(upper.T @ upper - lower @ lower.T).max() < 1e-9


def whitened(samples, strengths, seed=0):
    """Features with ``Z^T Z = N I``, and targets with these singular values of ``Y^T Z / N``."""
    generator = np.random.default_rng(seed)
    count = len(strengths)
    features = np.sqrt(samples) * np.linalg.qr(generator.standard_normal((samples, count)))[0]
    turn = np.linalg.qr(generator.standard_normal((count, count)))[0]
    noise = generator.standard_normal((samples, count))
    noise -= features @ (features.T @ noise) / samples
    return features, features @ np.diag(strengths) @ turn.T + noise


def check_whitened(strengths, weight_decay, depth, seed=0):
    features, targets = whitened(7, strengths, seed)
    predicted = np.sort(whitened_head(np.array(strengths), weight_decay, depth))[::-1]
    widths = [len(strengths), *[len(strengths) + 1] * (depth - 1)]
    solution = best(solve_many(network(targets, widths, [weight_decay] * depth, features=features), 4, scale=1.5))
    assert difference(np.linalg.svd(product(solution), compute_uv=False), predicted) <= 1
    for matrix in layers(solution):
        values = np.linalg.svd(matrix, compute_uv=False)[: len(strengths)]
        assert difference(values, predicted ** (1 / depth)) <= 1


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("weight_decay", [0.01, 0.1, 0.25, 0.35])
@pytest.mark.parametrize("strengths", [(2.0, 1.0), (1.5, 1.0, 0.3)])
def test_whitened_heads_reach_the_predicted_singular_values(depth, weight_decay, strengths):
    check_whitened(strengths, weight_decay, depth)


@settings(max_examples=6, deadline=None)
@given(st.floats(0.8, 3), st.floats(0.8, 3), st.floats(0.005, 0.2), st.integers(1, 3), st.integers(0, 50))
def test_any_parameters_reach_the_predicted_singular_values(first, second, weight_decay, depth, seed):
    check_whitened((first, second), weight_decay, depth, seed)


@pytest.mark.parametrize("depth", [3, 4])
@pytest.mark.parametrize(("side", "alive"), [(0.97, False), (1.03, True)])
def test_a_direction_dies_where_predicted(depth, side, alive):
    least = ((depth - 2) * 0.1) ** (depth / (2 * depth - 2))
    strength = side * (least + 0.1 * least ** (2 / depth - 1))
    predicted = whitened_head(np.array([2.0, strength]), 0.1, depth)
    assert (predicted[1] > 0) == alive
    check_whitened((2.0, strength), 0.1, depth)


@pytest.mark.parametrize(
    ("call", "assumption"),
    [
        (lambda: linear_head(np.eye(3), np.eye(3), 0), "at least one layer"),
        (lambda: linear_head(np.eye(3), np.eye(2), 1), "a target for each"),
        (lambda: linear_head(np.eye(3), np.zeros((3, 2)), 1), "know something"),
        (lambda: whitened_head(np.ones(2), 0.0, 2), "weight_decay > 0"),
        (lambda: whitened_head(-np.ones(2), 0.1, 2), "not negative"),
        (lambda: whitened_head(np.ones(2), 0.1, 0), "at least one layer"),
    ],
)
def test_parameters_outside_the_theorem_are_errors(call, assumption):
    with pytest.raises(OutOfRange, match=assumption):
        call()
