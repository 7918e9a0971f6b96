"""Normalised features before a penalised classifier: descent ends at the predicted simplex ETF."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.agreement import assert_meets
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.theory import OutOfRange, residual_minimiser
from layerwise.theory.descent import descend
from layerwise.theory.problems import chain, cross_entropy, labels_of


# A strong penalty leaves a landscape that is almost flat in the angles: with small classifiers the loss hardly knows
# more of the features than that their mean is zero. So the grid ends where descent still ends.
def check(classes, samples, weight_decay, starts, seed=0):
    counts, dimension = [samples] * classes, classes + 1
    predicted = residual_minimiser(classes, weight_decay, dimension=dimension)
    shapes = {"features": (classes * samples, dimension), "weight": (classes, dimension)}
    problem = chain(cross_entropy(labels_of(counts)), shapes, {"weight": weight_decay})
    generator = np.random.default_rng(seed)
    for _ in range(starts):
        assert_meets(descend(problem, problem.draw(generator), spheres={"features": 1.0}), predicted, counts)


@pytest.mark.parametrize("classes", [2, 3, 4, 6])
@pytest.mark.parametrize("weight_decay", [1e-3, 1e-2, 0.1, 0.5, 2.0])
def test_every_random_start_descends_to_the_predicted_minimiser(classes, weight_decay):
    check(classes, 2, weight_decay, starts=2)


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 5), st.integers(1, 3), st.floats(2e-3, 3), st.integers(0, 1000))
def test_any_parameters_descend_to_the_predicted_minimiser(classes, samples, weight_decay, seed):
    check(classes, samples, weight_decay, starts=1, seed=seed)


@pytest.mark.parametrize("weight_decay", [1e-12, 1e-5, 1.0, 1e5, 1e12])
def test_the_margin_solves_its_equation_for_any_penalty(weight_decay):
    margin = residual_minimiser(5, weight_decay).margin
    assert 1 / (np.exp(margin) + 4) == pytest.approx(weight_decay * margin * 4 / 5, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "assumption"),
    [({"classes": 1}, "classes"), ({"weight_decay": 0.0}, "weight_decay > 0"), ({"dimension": 2}, "d >= K - 1")],
)
def test_parameters_outside_the_theorem_are_errors(change, assumption):
    with pytest.raises(OutOfRange, match=assumption):
        residual_minimiser(**({"classes": 4, "weight_decay": 0.1, "dimension": 5} | change))
