"""Features and classifier on the sphere: Riemannian descent ends at the simplex ETF from every random start."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.agreement import assert_meets
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.theory import OutOfRange, normalised_minimiser
from layerwise.theory.descent import descend, project
from layerwise.theory.optimise import Problem
from layerwise.theory.problems import chain, cross_entropy, labels_of

SPHERES = {"features": 1.0, "weight": 1.0}


def check(classes, samples, temperature, spare, starts, seed=0):
    counts, dimension = [samples] * classes, classes + spare
    predicted = normalised_minimiser(classes, temperature, dimension=dimension)
    shapes = {"features": (classes * samples, dimension), "weight": (classes, dimension)}
    problem = chain(cross_entropy(labels_of(counts), temperature), shapes, {})
    generator = np.random.default_rng(seed)
    for _ in range(starts):
        solution = descend(problem, problem.draw(generator), spheres=SPHERES)
        assert solution.gradient <= 1e-11
        assert_meets(solution, predicted, counts)


@pytest.mark.parametrize("classes", [2, 3, 4, 6])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("spare", [1, 3])
def test_every_random_start_descends_to_the_simplex_etf(classes, temperature, spare):
    check(classes, 2, temperature, spare, starts=2)


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 5), st.integers(1, 3), st.floats(0.1, 6), st.integers(1, 4), st.integers(0, 1000))
def test_any_parameters_descend_to_the_simplex_etf(classes, samples, temperature, spare, seed):
    check(classes, samples, temperature, spare, starts=1, seed=seed)


def test_an_etf_that_fills_too_few_directions_is_not_the_minimum():
    # Features and classifier in a plane stay there, and a step out of it goes down: what they reach is a saddle.
    predicted = normalised_minimiser(4, 3.0)
    labels = labels_of([2] * 4)
    problem = chain(cross_entropy(labels, 3.0), {"features": (8, 5), "weight": (4, 5)}, {})
    generator = np.random.default_rng(0)
    flat = {name: array * (np.arange(5) < 2) for name, array in problem.draw(generator).items()}
    saddle = descend(problem, flat, spheres=SPHERES)
    assert saddle.gradient <= 1e-11
    assert saddle.loss > predicted.loss * 1.1
    pushed = {name: array + 1e-6 * generator.standard_normal(array.shape) for name, array in saddle.point.items()}
    assert_meets(descend(problem, pushed, spheres=SPHERES), predicted, [2] * 4)


def test_descent_in_a_ball_ends_inside_or_at_its_edge():
    def toward(target):
        return Problem(
            {"x": (1, 2)},
            lambda point: (float(((point["x"] - target) ** 2).sum()), {"x": 2 * (point["x"] - target)}),
        )

    start = {"x": np.array([[5.0, 5.0]])}
    inside = descend(toward(np.array([0.3, -0.4])), start, balls={"x": 1.0}).point["x"]
    edge = descend(toward(np.array([3.0, -4.0])), start, balls={"x": 1.0}).point["x"]
    np.testing.assert_allclose(inside, [[0.3, -0.4]], atol=1e-9)
    np.testing.assert_allclose(edge, [[0.6, -0.8]], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(project(start, {"x": 2.0}, {})["x"]), 2.0)


@pytest.mark.parametrize(
    ("change", "assumption"),
    [({"classes": 1}, "classes"), ({"temperature": 0.0}, "temperature > 0"), ({"dimension": 2}, "d >= K - 1")],
)
def test_parameters_outside_the_theorem_are_errors(change, assumption):
    with pytest.raises(OutOfRange, match=assumption):
        normalised_minimiser(**({"classes": 4, "temperature": 1.0, "dimension": 5} | change))
