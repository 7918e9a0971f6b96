"""Squared error: the frame moves from simplex ETF to orthogonal where the theorem says, and every start finds it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.agreement import assert_meets
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.theory import OutOfRange, squared_error_minimiser
from layerwise.theory.frames import frame_distance, orthogonal_frame_gram, simplex_etf_gram
from layerwise.theory.optimise import hessian, solve_many
from layerwise.theory.problems import unconstrained_features


def decays(classes: int, samples: int, level: float, balance: float) -> tuple[float, float]:
    """Weight and feature decay with ``K sqrt(n lW lH) = level`` and ``lW / lH = balance``."""
    product = (level / classes) ** 2 / samples
    return float(np.sqrt(product * balance)), float(np.sqrt(product / balance))


def bias_decay_at(level: float, ratio: float) -> float:
    """Bias penalty with ``lb/(1 + lb) = ratio * level``: the transition is at ``ratio = 1``."""
    share = ratio * level
    return np.inf if share >= 1 else share / (1 - share)


def check(classes, samples, level, balance, bias_decay, starts):
    weight_decay, feature_decay = decays(classes, samples, level, balance)
    counts, dimension = [samples] * classes, classes + 1
    predicted = squared_error_minimiser(classes, samples, weight_decay, feature_decay, bias_decay, dimension=dimension)
    problem = unconstrained_features(
        counts,
        dimension,
        weight_decay,
        feature_decay,
        bias_decay=None if bias_decay == np.inf else bias_decay,
        loss="squared_error",
    )
    for solution in solve_many(problem, starts):
        assert_meets(solution, predicted, counts)
    return predicted


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("level", [0.02, 0.4, 0.98, 1.02])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.98, 1.02, 1.9, np.inf])
def test_every_random_start_reaches_the_predicted_minimiser(classes, level, ratio):
    bias_decay = 0.0 if ratio == 0 else bias_decay_at(level, ratio)
    predicted = check(classes, 2, level, 1.7, bias_decay, starts=2)
    assert predicted.etf == (level >= 1 or ratio <= 1)


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 4), st.integers(1, 3), st.floats(0.01, 0.95), st.floats(0.05, 20), st.floats(0, 5))
def test_any_parameters_reach_the_predicted_minimiser(classes, samples, level, balance, bias_decay):
    check(classes, samples, level, balance, bias_decay, starts=1)


def test_the_frame_changes_at_the_transition():
    weight_decay, feature_decay = decays(4, 3, 0.3, 1.0)
    cheap = squared_error_minimiser(4, 3, weight_decay, feature_decay, 0.1)
    none = squared_error_minimiser(4, 3, weight_decay, feature_decay)
    dear = squared_error_minimiser(4, 3, weight_decay, feature_decay, 1e9)
    assert np.abs(cheap.weight_gram / cheap.weight_gram[0, 0] - simplex_etf_gram(4)).max() < 1e-12
    assert np.abs(none.weight_gram / none.weight_gram[0, 0] - orthogonal_frame_gram(np.ones(4))).max() < 1e-12
    assert np.abs(dear.weight_gram - none.weight_gram).max() < 1e-8
    assert dear.loss == pytest.approx(none.loss, rel=1e-8)


def test_the_transition_is_continuous():
    weight_decay, feature_decay = decays(4, 3, 0.3, 1.0)
    before, after = (
        squared_error_minimiser(4, 3, weight_decay, feature_decay, bias_decay_at(0.3, ratio))
        for ratio in (1 - 1e-10, 1 + 1e-10)
    )
    assert (before.etf, after.etf) == (True, False)
    assert after.common < 1e-9
    assert before.loss == pytest.approx(after.loss, rel=1e-9)
    assert before.bias[0] == pytest.approx(after.bias[0], rel=1e-8)


@pytest.mark.parametrize("dimensions", [0, 1, 3])
def test_a_planted_saddle_has_a_way_down(dimensions):
    weight_decay, feature_decay = decays(4, 2, 0.2, 1.0)
    settings = {"bias_decay": 2.0, "loss": "squared_error"}
    problem = unconstrained_features([2] * 4, 6, weight_decay, feature_decay, **settings)
    found = solve_many(unconstrained_features([2] * 4, dimensions, weight_decay, feature_decay, **settings), 1)[0]
    planted = {
        name: np.pad(found.point[name], [(0, 0), (0, 6 - dimensions)]) if name != "bias" else found.point[name]
        for name in problem.shapes
    }
    assert np.abs(problem.loss_and_gradient(problem.join(planted))[1]).max() < 1e-10
    assert np.linalg.eigvalsh(hessian(problem, planted))[0] < -1e-3


def test_found_means_turn_from_one_frame_to_the_other():
    weight_decay, feature_decay = decays(4, 2, 0.2, 1.0)
    distances = []
    for bias_decay in (0.2, 0.3, 1.0, 100.0):
        problem = unconstrained_features(
            [2] * 4, 5, weight_decay, feature_decay, bias_decay=bias_decay, loss="squared_error"
        )
        weight = solve_many(problem, 1)[0].point["weight"]
        distances.append(
            (frame_distance(weight, simplex_etf_gram(4)), frame_distance(weight, orthogonal_frame_gram(np.ones(4))))
        )
    from_etf, from_orthogonal = np.array(distances).T
    assert from_etf[0] < 1e-6 < from_etf[1]
    assert (np.diff(from_etf) > 0).all()
    assert (np.diff(from_orthogonal) < 0).all()
    assert from_orthogonal[-1] < 1e-2


@pytest.mark.parametrize(
    ("change", "assumption"),
    [
        ({"classes": 1}, "classes"),
        ({"weight_decay": 0.0}, "weight_decay > 0"),
        ({"bias_decay": -0.1}, "bias_decay >= 0"),
        ({"dimension": 3}, "d >= 4 here"),
        ({"dimension": 2, "bias_decay": 0.0}, "d >= 3 here"),
    ],
)
def test_parameters_outside_the_theorem_are_errors(change, assumption):
    given = {"classes": 4, "samples": 3, "weight_decay": 0.01, "feature_decay": 0.01, "dimension": 5}
    with pytest.raises(OutOfRange, match=assumption):
        squared_error_minimiser(**(given | change))
