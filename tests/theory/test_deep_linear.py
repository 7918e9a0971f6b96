"""Deep linear networks on unequal classes: norms, singular values and who dies, for one map and for several."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.agreement import assert_meets, difference, outputs
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.theory import OutOfRange, deep_linear_minimiser
from layerwise.theory.optimise import best, hessian, solve_many
from layerwise.theory.problems import labels_of, network


def threshold(depth: int) -> float:
    """Largest ``b/n_k`` at which a class survives."""
    return (depth - 1) ** ((depth - 1) / depth) / depth if depth > 1 else 1.0


def decays(counts, depth, level, feature_decay, spread):
    """Weight decays with ``b/n = level`` times the threshold for the largest class; unequal unless `spread` is 1."""
    total = sum(counts)
    wanted = level * threshold(depth) * max(counts) / (depth * total * (total * feature_decay) ** (1 / depth))
    shape = np.geomspace(1, spread, depth)
    return wanted * shape / np.exp(np.log(shape).mean())


def found(counts, widths, weight_decays, feature_decay, starts=2):
    # Every class has a valley where it dies, so starts of several sizes are needed: the small ones end at zero.
    problem = network(np.eye(len(counts))[labels_of(counts)], widths, weight_decays, feature_decay)
    return best([end for scale in (0.3, 0.7, 1.0, 1.5, 3.0) for end in solve_many(problem, starts, scale=scale)])


def check(counts, depth, level, feature_decay=0.03, spread=3.0, starts=2):
    weight_decays = decays(counts, depth, level, feature_decay, spread)
    predicted = deep_linear_minimiser(counts, weight_decays, feature_decay)
    solution = found(counts, [len(counts) + 1] * depth, weight_decays, feature_decay, starts)
    assert_meets(solution, predicted, counts)
    maps = [solution.point[name] for name in sorted(solution.point) if name.startswith("hidden")]
    for matrix, values in zip([*maps, solution.point["weight"]], predicted.singular_values, strict=True):
        measured = np.linalg.svd(matrix, compute_uv=False)[: len(counts)]
        assert difference(measured, np.sort(values)[::-1]) <= 1
    return predicted


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("counts", [(2, 2, 2), (4, 2, 1), (5, 3, 2, 1)])
@pytest.mark.parametrize("level", [0.05, 0.35, 0.8])
def test_optimisation_finds_the_predicted_minimiser(depth, counts, level):
    check(counts, depth, level)


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=3),
    st.integers(1, 3),
    st.floats(0.05, 0.7),
    st.floats(0.005, 0.2),
    st.floats(0.2, 5),
)
def test_any_parameters_reach_the_predicted_minimiser(counts, depth, level, feature_decay, spread):
    ratios = level * max(counts) / np.array(counts)
    if (np.abs(ratios - 1) > 0.02).all():
        check(counts, depth, level, feature_decay, spread, starts=8)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("side", "survivors"), [(0.97, 2), (1.03, 1)])
def test_the_smaller_class_dies_where_the_theorem_says(depth, side, survivors):
    # The threshold of the class with half the samples is at half the level of the larger one.
    predicted = check((4, 2), depth, 0.5 * side)
    assert predicted.alive.sum() == survivors


def test_one_map_has_the_threshold_and_the_norms_of_the_paper():
    counts, weight_decay, feature_decay = np.array([9, 4, 1]), 0.1, 0.1
    predicted = deep_linear_minimiser(counts, [weight_decay], feature_decay)
    squares = np.sqrt(counts * feature_decay / weight_decay) - counts.sum() * feature_decay
    np.testing.assert_allclose(predicted.singular_values[0] ** 2, squares.clip(min=0), rtol=1e-12)
    assert np.array_equal(predicted.alive, counts > counts.sum() ** 2 * weight_decay * feature_decay)


@pytest.mark.parametrize("depth", [2, 3])
def test_between_thresholds_the_largest_root_is_a_local_minimum(depth):
    counts, feature_decay = (3, 3), 0.03
    weight_decays = decays(counts, depth, 1.02, feature_decay, 1.0)
    predicted = deep_linear_minimiser(counts, weight_decays, feature_decay)
    assert not predicted.alive.any()
    problem = network(np.eye(2)[labels_of(counts)], [3] * depth, weight_decays, feature_decay)
    low, high = best(solve_many(problem, 2, scale=0.01)), best(solve_many(problem, 4, scale=1.5))
    assert low.loss == pytest.approx(predicted.loss, rel=1e-12)
    assert high.loss > predicted.loss * (1 + 1e-3)
    assert high.gradient < 1e-9
    assert np.linalg.eigvalsh(hessian(problem, high.point))[0] > -1e-8
    level = threshold(depth) * 1.02
    shares = np.linalg.svd(outputs(high.point), compute_uv=False)[0] / np.sqrt(3)
    root = (shares / (1 - shares)) ** (1 / depth)
    assert depth * root ** (depth - 1) / (1 + root**depth) ** 2 == pytest.approx(level, rel=1e-6)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_narrow_map_keeps_the_largest_classes(depth):
    counts, feature_decay = (2, 5, 3), 0.03
    weight_decays = decays(counts, depth, 0.1, feature_decay, 1.0)
    predicted = deep_linear_minimiser(counts, weight_decays, feature_decay, width=2)
    assert predicted.alive.tolist() == [False, True, True]
    assert_meets(found(counts, [2] * depth, weight_decays, feature_decay, starts=6), predicted, counts)


@pytest.mark.parametrize(
    ("counts", "weight_decays", "feature_decay", "width", "assumption"),
    [
        ((3,), [0.1], 0.1, None, "at least two classes"),
        ((3, 0), [0.1], 0.1, None, "at least one, in every class"),
        ((3, 1.5), [0.1], 0.1, None, "whole number"),
        ((3, 2), [], 0.1, None, "at least one linear map"),
        ((3, 2), [0.1, 0.0], 0.1, None, "weight_decay > 0"),
        ((3, 2), [0.1], 0.0, None, "feature_decay > 0"),
        ((3, 2), [0.1], 0.1, 0, "width of at least one"),
        ((3, 3), [0.01], 0.01, 1, "classes of different sizes"),
    ],
)
def test_parameters_outside_the_theorem_are_errors(counts, weight_decays, feature_decay, width, assumption):
    with pytest.raises(OutOfRange, match=assumption):
        deep_linear_minimiser(counts, weight_decays, feature_decay, width=width)
