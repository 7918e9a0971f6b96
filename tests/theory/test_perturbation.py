"""The perturbation model: where it ends, and that collapse is monotone on the way."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.agreement import assert_meets, slope_error
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.theory import OutOfRange, perturbed_minimiser
from layerwise.theory.optimise import solve, solve_many
from layerwise.theory.perturbation import feature_flow, optimal_classifier, perturbed


def start(classes, samples, seed=0, scale=1.0):
    return scale * np.random.default_rng(seed).standard_normal((classes * samples, classes + 2))


def check(classes, samples, cost, balance, starts=2):
    weight_decay, feature_decay = cost * balance, cost / balance
    predicted = perturbed_minimiser(classes, samples, weight_decay, feature_decay)
    problem = perturbed(start(classes, samples), classes, weight_decay, feature_decay)
    for solution in solve_many(problem, starts):
        assert_meets(solution, predicted, [samples] * classes)
    return predicted


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("cost", [0.02, 0.5, 0.98, 1.02])
def test_every_random_start_reaches_the_predicted_minimiser(classes, samples, cost):
    predicted = check(classes, samples, cost, 0.4)
    kept = max(0.0, 1 - cost)
    assert predicted.loss == pytest.approx(cost - cost**2 / 2 if cost < 1 else 0.5)
    np.testing.assert_allclose(predicted.mean_norms**2, kept * 0.4, rtol=1e-9)
    np.testing.assert_allclose(predicted.weight_norms**2, kept / 0.4, rtol=1e-9)


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 4), st.integers(1, 3), st.floats(0.02, 0.95), st.floats(0.1, 10))
def test_any_parameters_reach_the_predicted_minimiser(classes, samples, cost, balance):
    check(classes, samples, cost, balance, starts=1)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("weight_decay", "feature_decay"), [(0.05, 0.05), (0.5, 0.01), (0.01, 0.6), (2.0, 1.0)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_collapse_is_monotone_along_the_flow(classes, weight_decay, feature_decay, seed):
    flow = feature_flow(start(classes, 3, seed), classes, weight_decay, feature_decay, np.linspace(0, 4, 60))
    growth = np.exp(2 * feature_decay * flow.times)
    assert (np.diff(growth * flow.within) < 0).all()
    assert (np.diff(growth * flow.between) > 0).all()
    assert (np.diff(flow.within / flow.between) < 0).all()


def test_the_flow_ends_at_the_predicted_frame():
    flow = feature_flow(start(3, 2), 3, 0.2, 0.3, [0.0, 400.0])
    means = flow.features[-1].reshape(3, 2, -1).mean(1)
    np.testing.assert_allclose(means @ means.T, perturbed_minimiser(3, 2, 0.2, 0.3).mean_gram, atol=1e-6)
    assert flow.within[-1] < 1e-12


def test_the_classifier_of_the_flow_is_the_best_one():
    features = start(3, 2)
    problem = perturbed(features, 3, 0.2, 0.3, attachment=0.7)
    weight = optimal_classifier(features, 3, 0.2)
    slope = problem.objective({"features": features, "weight": weight})[1]["weight"]
    assert np.abs(slope).max() < 1e-14
    assert slope_error(problem, problem.draw(np.random.default_rng(1))) < 1e-7


def test_attachment_holds_the_features_near_where_they_were():
    features = start(3, 2)
    moved = []
    for attachment in (0.1, 1.0, 10.0, 1000.0):
        problem = perturbed(features, 3, 0.2, 0.3, attachment)
        found = solve(problem, {"features": features, "weight": optimal_classifier(features, 3, 0.2)})
        moved.append(np.linalg.norm(found.point["features"] - features))
    assert (np.diff(moved) < 0).all()
    assert moved[-1] < 1e-2


@pytest.mark.parametrize(
    ("call", "assumption"),
    [
        (lambda: perturbed_minimiser(3, 2, 0.0, 0.1), "weight_decay > 0"),
        (lambda: feature_flow(start(3, 2), 3, 0.1, 0.0, [0.0, 1.0]), "feature_decay > 0"),
        (lambda: feature_flow(start(3, 2), 3, 0.1, 0.1, [1.0, 0.5]), "increasing times"),
        (lambda: perturbed(start(3, 2)[:5], 3, 0.1, 0.1), "equally many samples"),
    ],
)
def test_parameters_outside_the_theorem_are_errors(call, assumption):
    with pytest.raises(OutOfRange, match=assumption):
        call()
