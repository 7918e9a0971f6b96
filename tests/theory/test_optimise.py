"""The objectives have the gradients they claim, and the solver finds known minima to the last digits."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.agreement import slope_error

from layerwise.theory.optimise import Problem, best, hessian, solve, solve_many
from layerwise.theory.problems import chain, cross_entropy, labels_of, network, unconstrained_features

COUNTS = (3, 1, 2)
TARGETS = np.random.default_rng(5).standard_normal((6, 3))


@pytest.mark.parametrize(
    "problem",
    [
        unconstrained_features(COUNTS, 4, 0.02, 0.03),
        unconstrained_features(COUNTS, 4, 0.02, 0.03, bias_decay=0.0, loss="squared_error"),
        unconstrained_features(COUNTS, 4, 0.02, 0.03, bias_decay=0.1, nonnegative=True),
        network(TARGETS, [4], [0.1], 0.2, bias=True),
        network(TARGETS, [5, 4, 6], [0.1, 0.2, 0.3], 0.2),
        network(TARGETS, [2, 4], [0.1, 0.2], features=np.arange(12.0).reshape(6, 2)),
        chain(cross_entropy(labels_of(COUNTS), 3.0), {"features": (6, 2), "weight": (3, 2)}, {}),
    ],
    ids=["cross_entropy", "squared_error", "nonnegative", "regression", "deep", "frozen", "temperature"],
)
def test_gradients_are_those_of_the_loss(problem):
    point = problem.draw(np.random.default_rng(0))
    assert slope_error(problem, point) < 1e-7
    assert all(point[name].shape == shape for name, shape in problem.shapes.items())


def test_a_point_and_its_vector_are_the_same():
    problem = unconstrained_features(COUNTS, 4, 0.02, 0.03, bias_decay=0.1)
    point = problem.draw(np.random.default_rng(0))
    again = problem.part(problem.join(point))
    assert all(np.array_equal(point[name], again[name]) for name in point)


def test_the_solver_finds_a_least_squares_solution_with_flat_directions():
    matrix, target = np.random.default_rng(0).standard_normal((5, 8)), np.arange(5.0)
    problem = Problem(
        {"x": (8,)},
        lambda point: (
            float(((matrix @ point["x"] - target) ** 2).sum()) / 2,
            {"x": matrix.T @ (matrix @ point["x"] - target)},
        ),
    )
    found = best(solve_many(problem, 3))
    np.testing.assert_allclose(matrix @ found.point["x"], target, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(hessian(problem, found.point), matrix.T @ matrix, atol=1e-8)


def test_the_solver_keeps_to_nonnegative_variables():
    problem = Problem(
        {"x": (2,)},
        lambda point: (float(((point["x"] - [-1, 2]) ** 2).sum()), {"x": 2 * (point["x"] - [-1, 2])}),
        frozenset({"x"}),
    )
    found = solve(problem, {"x": np.array([3.0, 3.0])})
    np.testing.assert_allclose(found.point["x"], [0, 2], atol=1e-12)
    assert found.gradient < 1e-12
