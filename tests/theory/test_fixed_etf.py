"""With a classifier fixed to a simplex ETF the features do not know of the imbalance; with a learnable one they do."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.agreement import RELATIVE, difference, slope_error
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.theory import OutOfRange, dot_regression, fixed_classifier_minimiser
from layerwise.theory.descent import descend
from layerwise.theory.frames import random_frame
from layerwise.theory.optimise import best, solve_many
from layerwise.theory.problems import chain, cross_entropy, labels_of, unconstrained_features

COUNTS = [(2, 2, 2), (6, 2, 1), (9, 1), (5, 3, 1, 1)]


def posed(counts, feature_energy, classifier_energy, loss):
    """The problem, its classifier ``(K, d)``, and what the theorem says."""
    generator = np.random.default_rng(0)
    predicted = fixed_classifier_minimiser(len(counts), feature_energy, classifier_energy)
    weight = random_frame(predicted.weight_gram, len(counts) + 1, generator)
    labels = labels_of(counts)
    fit = (
        cross_entropy(labels) if loss == "cross_entropy" else dot_regression(labels, feature_energy, classifier_energy)
    )
    shapes = {"features": (len(labels), len(counts) + 1), "weight": weight.shape}
    problem = chain(fit, shapes, {}, frozen={"weight": weight})
    return problem, weight, predicted, problem.draw(generator, 0.1)


def check(counts, feature_energy, classifier_energy):
    problem, weight, predicted, start = posed(counts, feature_energy, classifier_energy, "cross_entropy")
    radius = np.sqrt(feature_energy)
    found = descend(problem, start, balls={"features": radius})
    assert abs(found.loss - predicted.loss) <= RELATIVE * predicted.loss
    assert difference(found.point["features"], predicted.ratio * np.repeat(weight, counts, axis=0)) <= 1

    problem, weight, predicted, start = posed(counts, feature_energy, classifier_energy, "dot_regression")
    found = descend(problem, start, balls={"features": radius}, tolerance=1e-12)
    # The loss is flat to third order along the sphere: what it fixes to 1e-6 is the product with the own row.
    products = (found.point["features"] * np.repeat(weight, counts, axis=0)).sum(1)
    np.testing.assert_allclose(products, np.sqrt(feature_energy * classifier_energy), rtol=RELATIVE)
    assert found.loss <= 1e-12
    expected = predicted.ratio * np.repeat(weight, counts, axis=0)
    assert np.linalg.norm(found.point["features"] - expected) < 2e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("feature_energy", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("classifier_energy", [0.5, 2.0])
def test_features_align_with_the_fixed_classifier_for_any_imbalance(counts, feature_energy, classifier_energy):
    check(counts, feature_energy, classifier_energy)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 8), min_size=2, max_size=4), st.floats(0.2, 4), st.floats(0.2, 4))
def test_any_parameters_align_with_the_fixed_classifier(counts, feature_energy, classifier_energy):
    check(counts, feature_energy, classifier_energy)


def test_the_gradient_of_dot_regression_is_that_of_the_loss():
    problem, *_ = posed((3, 2, 1), 2.0, 0.5, "dot_regression")
    assert slope_error(problem, problem.draw(np.random.default_rng(1))) < 1e-7


def test_a_learnable_classifier_merges_minorities():
    cosines = []
    for ratio in (1, 2, 4, 8):
        problem = unconstrained_features([ratio, ratio, 1, 1], 5, 0.06, 0.06)
        weight = best(solve_many(problem, 2)).point["weight"]
        cosines.append(weight[2] @ weight[3] / np.linalg.norm(weight[2]) / np.linalg.norm(weight[3]))
    assert cosines[0] == pytest.approx(-1 / 3, abs=1e-9)
    assert (np.diff(cosines) > 0.01).all()


@pytest.mark.parametrize(
    ("given", "assumption"),
    [
        ((1, 1.0, 1.0), "classes"),
        ((3, 0.0, 1.0), "feature_energy > 0"),
        ((3, 1.0, -1.0), "classifier_energy > 0"),
    ],
)
def test_parameters_outside_the_theorem_are_errors(given, assumption):
    with pytest.raises(OutOfRange, match=assumption):
        fixed_classifier_minimiser(*given)
