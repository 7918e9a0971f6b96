"""What theory expects of a training is what descent finds, whatever closed form it comes from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.errors import UnknownName
from layerwise.theory import OutOfRange, cross_entropy_minimiser, implied_feature_decay, predict
from layerwise.theory.optimise import best, solve_many
from layerwise.theory.problems import class_means, unconstrained_features

BALANCED, UNEQUAL = (3, 3, 3), (5, 3, 2)


def measured(counts, weight_decay, feature_decay, *, loss="cross_entropy", relu=False, bias_decay=np.inf):
    """Class means of the best of several descents."""
    bias = None if bias_decay == np.inf else bias_decay
    dimension = 4 * len(counts) if relu else len(counts) + 1
    problem = unconstrained_features(
        counts, dimension, weight_decay, feature_decay, bias_decay=bias, loss=loss, nonnegative=relu
    )
    return best(solve_many(problem, 4 if relu else 2)).point


@pytest.mark.parametrize(
    ("counts", "options", "name"),
    [
        (BALANCED, {}, "simplex ETF"),
        (BALANCED, {"bias_decay": 0.01}, "simplex ETF"),
        (BALANCED, {"relu": True}, "orthogonal frame"),
        (BALANCED, {"relu": True, "bias_decay": 0.02}, "orthogonal frame"),
        (BALANCED, {"loss": "squared_error"}, "orthogonal frame"),
        (BALANCED, {"loss": "squared_error", "relu": True}, "orthogonal frame"),
        (BALANCED, {"loss": "squared_error", "bias_decay": 0.02}, "simplex ETF"),
        (BALANCED, {"loss": "squared_error", "bias_decay": 1.0}, "frame"),
        (UNEQUAL, {"relu": True}, "general orthogonal frame"),
        (UNEQUAL, {"loss": "squared_error"}, "general orthogonal frame"),
        (UNEQUAL, {}, "frame"),
        (UNEQUAL, {"bias_decay": 0.02}, "frame"),
        (UNEQUAL, {"loss": "squared_error", "bias_decay": 0.02}, "frame"),
    ],
)
def test_the_frame_is_the_one_that_descent_reaches(counts, options, name):
    decays = 0.03, 0.02
    frame = predict(counts, *decays, **options)
    point = measured(counts, *decays, **options)
    means = class_means(point["features"], counts)
    assert frame.name == name
    np.testing.assert_allclose(means @ means.T, frame.gram, rtol=0, atol=2e-6 * np.trace(frame.gram))
    assert frame.distance(means) < 1e-5
    assert implied_feature_decay(decays[0], point["weight"], point["features"]) == pytest.approx(decays[1], rel=1e-6)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.floats(0.01, 0.6), st.floats(0.5, 2))
def test_any_sizes_of_classes_reach_their_frame(counts, level, balance):
    strength = level * np.sqrt(min(counts)) / sum(counts)
    decays = strength * balance, strength / balance
    means = class_means(measured(counts, *decays)["features"], counts)
    assert predict(counts, *decays).distance(means) < 1e-4


def test_descent_on_class_means_agrees_with_the_closed_form_where_there_is_one():
    closed = cross_entropy_minimiser(4, 6, 0.02, 0.01).mean_gram
    almost = predict([6000, 6000, 6000, 6001], 0.02, 0.01 / 1000).gram
    np.testing.assert_allclose(almost, closed, rtol=0, atol=1e-3 * np.trace(closed))


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("counts", [BALANCED, UNEQUAL])
@pytest.mark.parametrize("bias_decay", [0.1, np.inf])
def test_features_that_cost_too_much_are_zero(loss, counts, bias_decay):
    frame = predict(counts, 2.0, 2.0, loss=loss, bias_decay=bias_decay)
    assert frame.zero
    assert frame.name == "zero"


def test_a_class_that_dies_has_no_norm():
    assert (predict([16, 4, 1], 0.05, 0.05, relu=True).norms == 0).tolist() == [False, False, True]
    assert (predict([16, 4, 1], 0.05, 0.05, loss="squared_error").norms == 0).tolist() == [False, False, True]


def test_depth_changes_the_norms_of_unequal_classes():
    shallow, deep = (predict([9, 1], 0.01, 0.01, loss="squared_error", linear_layers=depth) for depth in (1, 2))
    assert shallow.norms[0] / shallow.norms[1] != pytest.approx(deep.norms[0] / deep.norms[1], rel=1e-2)


@pytest.mark.parametrize(
    ("change", "assumption"),
    [
        ({"counts": (3, 0)}, "in every class"),
        ({"weight_decay": 0.0}, "weight_decay > 0"),
        ({"bias_decay": -1.0}, "bias_decay >= 0"),
        ({"linear_layers": 2}, "squared error without a bias"),
        ({"relu": True, "bias_decay": 0.1}, "cross entropy and equal classes"),
        ({"relu": True, "bias_decay": 0.1, "loss": "squared_error", "counts": (2, 2)}, "cross entropy and equal"),
    ],
)
def test_a_training_that_no_theorem_speaks_of_is_refused(change, assumption):
    with pytest.raises(OutOfRange, match=assumption):
        predict(**({"counts": (3, 2), "weight_decay": 0.1, "feature_decay": 0.1} | change))
    with pytest.raises(UnknownName, match="squared_error"):
        predict((2, 2), 0.1, 0.1, loss="mse")
