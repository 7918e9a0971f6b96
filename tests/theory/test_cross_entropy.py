"""The simplex ETF of the cross entropy: found from every random start, and nowhere else is a valley."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.agreement import assert_meets
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.theory import OutOfRange, cross_entropy_minimiser
from layerwise.theory.frames import frame_distance, simplex_etf_gram
from layerwise.theory.optimise import hessian, solve_many
from layerwise.theory.problems import class_means, unconstrained_features

# K, n and K L, on both sides of the threshold at 1; the balance of the decays and the bias penalty go along.
GRID = [(classes, samples, level) for classes in (2, 3, 5) for samples in (1, 3) for level in (0.01, 0.3, 0.97, 1.03)]


def decays(classes: int, samples: int, level: float, balance: float) -> tuple[float, float]:
    """Weight and feature decay with ``K sqrt(n lW lH) = level`` and ``lW / lH = balance``."""
    product = (level / classes) ** 2 / samples
    return float(np.sqrt(product * balance)), float(np.sqrt(product / balance))


def check(classes, samples, level, balance, bias_decay, starts):
    weight_decay, feature_decay = decays(classes, samples, level, balance)
    counts, dimension = [samples] * classes, classes + 1
    predicted = cross_entropy_minimiser(classes, samples, weight_decay, feature_decay, dimension=dimension)
    problem = unconstrained_features(counts, dimension, weight_decay, feature_decay, bias_decay=bias_decay)
    assert predicted.zero == (level >= 1)
    for solution in solve_many(problem, starts):
        assert_meets(solution, predicted, counts)


@pytest.mark.parametrize(("classes", "samples", "level"), GRID)
def test_every_random_start_reaches_the_predicted_minimiser(classes, samples, level):
    check(classes, samples, level, balance=samples * 0.7, bias_decay=0.05, starts=2)


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 4), st.integers(1, 3), st.floats(0.02, 0.95), st.floats(0.05, 20), st.sampled_from([None, 0.3]))
def test_any_parameters_reach_the_predicted_minimiser(classes, samples, level, balance, bias_decay):
    check(classes, samples, level, balance, bias_decay, starts=1)


@pytest.mark.parametrize("dimensions", [0, 1, 2])
def test_a_planted_saddle_has_a_way_down(dimensions):
    # Features and classifier that fill too few directions are stationary: no gradient leads out of their span.
    classes, samples, wide = 4, 2, 6
    weight_decay, feature_decay = decays(classes, samples, 0.2, 1.0)
    problem = unconstrained_features([samples] * classes, wide, weight_decay, feature_decay, bias_decay=0.1)
    narrow = unconstrained_features([samples] * classes, dimensions, weight_decay, feature_decay, bias_decay=0.1)
    found = solve_many(narrow, 1)[0]
    planted = {
        name: np.pad(found.point[name], [(0, 0), (0, wide - dimensions)]) if name != "bias" else found.point[name]
        for name in problem.shapes
    }
    loss, gradient = problem.loss_and_gradient(problem.join(planted))
    assert np.abs(gradient).max() < 1e-10
    assert loss > cross_entropy_minimiser(classes, samples, weight_decay, feature_decay).loss + 1e-3
    assert np.linalg.eigvalsh(hessian(problem, planted))[0] < -1e-3


def test_the_minimum_has_no_way_down():
    weight_decay, feature_decay = decays(3, 2, 0.2, 1.0)
    problem = unconstrained_features([2] * 3, 4, weight_decay, feature_decay, bias_decay=0.1)
    values = np.linalg.eigvalsh(hessian(problem, solve_many(problem, 1)[0].point))
    assert values[0] > -1e-8
    assert values[-1] > 1e-2


def test_the_found_classifier_is_a_simplex_etf_only_below_the_threshold():
    for level, collapsed in ((0.9, True), (1.1, False)):
        problem = unconstrained_features([2] * 4, 5, *decays(4, 2, level, 1.0))
        point = solve_many(problem, 1)[0].point
        if collapsed:
            assert frame_distance(point["weight"], simplex_etf_gram(4)) < 1e-6
            assert frame_distance(class_means(point["features"], [2] * 4), simplex_etf_gram(4)) < 1e-6
        else:
            assert max(np.abs(array).max() for array in point.values()) < 1e-9


@pytest.mark.parametrize(
    ("change", "assumption"),
    [
        ({"classes": 1}, "classes"),
        ({"samples": 0}, "samples > 0"),
        ({"weight_decay": 0.0}, "weight_decay > 0"),
        ({"feature_decay": -1.0}, "feature_decay > 0"),
        ({"feature_decay": float("nan")}, "feature_decay > 0"),
        ({"dimension": 2}, "d >= K - 1"),
    ],
)
def test_parameters_outside_the_theorem_are_errors(change, assumption):
    given = {"classes": 4, "samples": 3, "weight_decay": 0.01, "feature_decay": 0.01, "dimension": 5}
    with pytest.raises(OutOfRange, match=assumption):
        cross_entropy_minimiser(**(given | change))
