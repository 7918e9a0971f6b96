"""Cross entropy on unequal classes: who dies behind a ReLU, and which classes merge without one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.agreement import RELATIVE, assert_meets, outputs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from layerwise.theory import OutOfRange, minority_collapse, nonnegative_minimiser, zero_threshold
from layerwise.theory.frames import frame_distance, simplex_etf_gram
from layerwise.theory.optimise import best, solve_many
from layerwise.theory.problems import class_means, unconstrained_features

COUNTS = [(2, 2, 2), (4, 2, 1), (5, 3, 2, 1), (4, 4, 1, 1)]


def decays(strength: float, balance: float) -> tuple[float, float]:
    """Weight and feature decay with ``sqrt(lW lH) = strength`` and ``lW / lH = balance^2``."""
    return strength * balance, strength / balance


def check_nonnegative(counts, level, balance, starts=4):
    # The level is that of the largest class in units of its threshold.
    classes, total = len(counts), sum(counts)
    pair = decays(np.sqrt(level * max(counts) * (classes - 1) / classes) / total, balance)
    predicted = nonnegative_minimiser(counts, *pair, dimension=4 * classes)
    problem = unconstrained_features(counts, 4 * classes, *pair, nonnegative=True)
    solution = best(solve_many(problem, starts))
    assert_meets(solution, predicted, counts)
    return predicted, solution


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("level", [0.02, 0.3, 0.97, 1.03])
@pytest.mark.parametrize("balance", [0.5, 2.0])
def test_relu_features_reach_the_predicted_orthogonal_frame(counts, level, balance):
    predicted, _ = check_nonnegative(counts, level, balance)
    assert predicted.alive.any() == (level < 1)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.floats(0.02, 0.9), st.floats(0.3, 3))
def test_any_parameters_reach_the_predicted_orthogonal_frame(counts, level, balance):
    if (np.abs(level * max(counts) / np.array(counts) - 1) > 0.02).all():
        check_nonnegative(counts, level, balance)


@pytest.mark.parametrize(("side", "alive"), [(0.97, True), (1.03, False)])
def test_the_smaller_class_dies_behind_a_relu_where_the_theorem_says(side, alive):
    predicted, solution = check_nonnegative((4, 4, 2), 0.5 * side, 1.0)
    assert predicted.alive.tolist() == [True, True, alive]
    last = np.linalg.norm(solution.point["features"][-1])
    assert last > 0.05 if alive else last < 1e-9
    # The classifier of a dead class is not zero: it points away from the classes that live.
    assert predicted.weight_norms[-1] > 0.1


def test_equal_classes_behind_relu_are_orthogonal():
    predicted, solution = check_nonnegative((2, 2, 2, 2), 0.1, 1.0)
    assert frame_distance(solution.point["weight"], simplex_etf_gram(4)) < 1e-6
    assert np.abs(predicted.mean_gram - np.diag(predicted.mean_norms**2)).max() == 0


def solved(counts, strength, balance=1.0, bias_decay=None, dimension=None):
    dimension = len(counts) + 1 if dimension is None else dimension
    return best(
        solve_many(unconstrained_features(counts, dimension, *decays(strength, balance), bias_decay=bias_decay), 2)
    ).point


def gaps(point, counts):
    """Own probability less that of each class of the same size, ``(K, K)``; NaN elsewhere."""
    logits = class_means(outputs(point), counts) + point.get("bias", 0.0)
    chances = softmax(logits, axis=1)
    sizes = np.array(counts)
    same = (sizes[:, None] == sizes) & ~np.eye(len(sizes), dtype=bool)
    return np.where(same, np.diag(chances)[:, None] - chances, np.nan)


@pytest.mark.parametrize("counts", [(4, 4, 1, 1), (5, 5, 5, 2, 2), (3, 3, 2, 2, 1, 1), (4, 1, 1, 1)])
@pytest.mark.parametrize("level", [0.1, 0.6, 0.99, 1.01, 1.3])
@pytest.mark.parametrize("bias_decay", [None, 0.1])
def test_classes_of_one_size_merge_as_predicted(counts, level, bias_decay):
    strength = level * np.sqrt(min(counts)) / sum(counts)
    predicted = minority_collapse(counts, *decays(strength, 1.5), dimension=len(counts) + 1)
    point = solved(counts, strength, 1.5, bias_decay)
    assert predicted.merged[-1] == (level >= 1)
    measured = gaps(point, counts)
    for place, gap in enumerate(predicted.gap):
        others = measured[place][~np.isnan(measured[place])]
        assert len(others) == 0 if np.isnan(gap) else np.abs(others - gap).max() <= RELATIVE * gap + 1e-8
    means = class_means(point["features"], counts)
    for array in (means, point["weight"]):
        apart = np.linalg.norm(array[-1] - array[-2])
        assert apart < 1e-6 if predicted.merged[-1] else apart > 1e-3


@settings(max_examples=6, deadline=None)
@given(st.integers(2, 3), st.integers(2, 3), st.integers(2, 5), st.floats(0.1, 1.9))
def test_minorities_merge_as_predicted_for_any_two_clusters(majors, minors, size, level):
    counts = [size] * majors + [1] * minors
    strength = level / sum(counts)
    if abs(level - 1) > 0.01 and abs(level / np.sqrt(size) - 1) > 0.01:
        predicted = minority_collapse(counts, *decays(strength, 1.0))
        measured = gaps(solved(counts, strength), counts)
        np.testing.assert_allclose(np.nanmean(measured, axis=1), predicted.gap, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("counts", [(4, 4, 1, 1), (4, 1, 1, 1), (5, 3, 2), (2, 2, 2)])
def test_everything_is_zero_from_the_threshold_on(counts):
    edge = zero_threshold(counts)
    for side, zero in ((0.99, False), (1.01, True)):
        assert minority_collapse(counts, *decays(edge * side, 1.0)).zero is zero
        largest = np.abs(solved(counts, edge * side)["weight"]).max()
        assert largest < 1e-6 if zero else largest > 1e-2


def test_the_threshold_is_that_of_the_largest_classes_if_there_are_two_of_them():
    assert zero_threshold([4, 4, 1]) == pytest.approx(2 / 9)
    assert zero_threshold([4, 1, 1]) < 2 / 6 - 0.02


@pytest.mark.parametrize("predict", [nonnegative_minimiser, minority_collapse])
@pytest.mark.parametrize(
    ("change", "assumption"),
    [
        ({"counts": (3,)}, "at least two classes"),
        ({"counts": (3, 0)}, "in every class"),
        ({"weight_decay": 0.0}, "weight_decay > 0"),
        ({"feature_decay": 0.0}, "feature_decay > 0"),
        ({"dimension": 2}, "d >= K"),
    ],
)
def test_parameters_outside_the_theorem_are_errors(predict, change, assumption):
    given = {"counts": (3, 2, 1), "weight_decay": 0.1, "feature_decay": 0.1, "dimension": 5}
    with pytest.raises(OutOfRange, match=assumption):
        predict(**(given | change))
