"""The split of the squared error is exact for any features and any classifier, close to collapse too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.theory import OutOfRange, least_squares, loss_parts
from layerwise.theory.frames import simplex_etf

CASES = [(classes, samples, width) for classes in (2, 3, 5) for samples in (2, 6) for width in (1, 2, 4, 30)]


def made_up(classes, samples, width, spread=1.0, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(classes), samples))
    means = 3 * generator.standard_normal((classes, width)) + 7
    return means[labels] + spread * generator.standard_normal((classes * samples, width)), labels


def by_hand(features, labels, weight, bias):
    """The loss of a classifier, and the parts of it from its own outputs."""
    outputs, targets = features @ weight.T + bias, np.eye(labels.max() + 1)[labels]
    centres = np.stack([outputs[labels == label].mean(0) for label in range(labels.max() + 1)])
    loss = ((outputs - targets) ** 2).sum(1).mean() / 2
    within = ((outputs - centres[labels]) ** 2).sum(1).mean() / 2
    between = ((centres - np.eye(len(centres))) ** 2).sum(1).mean() / 2
    return loss, within, between


@pytest.mark.parametrize(("classes", "samples", "width"), CASES)
def test_the_parts_are_those_of_the_least_squares_classifier(classes, samples, width):
    features, labels = made_up(classes, samples, width)
    weight, bias = least_squares(features, np.eye(classes)[labels])
    loss, within, between = by_hand(features, labels, weight, bias)
    parts = loss_parts(features, labels)
    assert parts.least == pytest.approx(loss, rel=1e-6, abs=1e-14)
    assert parts.within == pytest.approx(within, rel=1e-6, abs=1e-14)
    assert parts.between == pytest.approx(between, rel=1e-6, abs=1e-14)
    assert parts.ratios.shape == (classes - 1,)
    if np.isfinite(parts.ratios).all():
        assert parts.least == pytest.approx((1 / (1 + parts.ratios)).sum() / (2 * classes), rel=1e-6, abs=1e-14)


@pytest.mark.parametrize(("classes", "samples", "width"), CASES)
def test_the_loss_of_any_classifier_is_the_sum_of_its_parts(classes, samples, width):
    features, labels = made_up(classes, samples, width, seed=1)
    generator = np.random.default_rng(2)
    weight, bias = generator.standard_normal((classes, width)), generator.standard_normal(classes)
    assert loss_parts(features, labels, weight, bias).loss == pytest.approx(by_hand(features, labels, weight, bias)[0])
    assert loss_parts(features, labels, weight).loss == pytest.approx(by_hand(features, labels, weight, 0 * bias)[0])


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(1, 9), st.floats(1e-3, 1e2), st.integers(0, 1000))
def test_the_split_holds_for_any_features(classes, samples, width, spread, seed):
    features, labels = made_up(classes, samples, width, spread, seed)
    weight = np.random.default_rng(seed).standard_normal((classes, width))
    expected = by_hand(features, labels, weight, np.zeros(classes))[0]
    assert loss_parts(features, labels, weight).loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("spread", [1e-2, 1e-5, 1e-8])
def test_the_parts_stay_exact_close_to_collapse(spread):
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    noise = generator.standard_normal((200, 5))
    noise -= np.stack([noise[labels == label].mean(0) for label in range(4)])[labels]
    _, _, axes = np.linalg.svd(noise, full_matrices=False)
    noise = noise @ axes.T
    noise *= spread * np.sqrt(200) / np.linalg.norm(noise, axis=0)
    parts = loss_parts(simplex_etf(4, 5, norm=3.0)[labels] + noise, labels)
    # S_W is spread^2 I and the centred means of norm 3 give S_B the eigenvalue 9/3 in each of three directions.
    np.testing.assert_allclose(parts.ratios, 3 / spread**2, rtol=1e-6)
    assert parts.within == pytest.approx(3 / 8 * spread**2 / 3 / (1 + spread**2 / 3) ** 2, rel=1e-6)


def test_collapsed_features_have_nothing_left_to_lose():
    labels = np.repeat(np.arange(4), 3)
    parts = loss_parts(simplex_etf(4, 5)[labels], labels)
    assert parts.loss < 1e-20


def test_unequal_classes_are_an_error_that_names_the_assumption():
    with pytest.raises(OutOfRange, match="as many samples in every class"):
        loss_parts(np.eye(3), np.array([0, 0, 1]))
    with pytest.raises(OutOfRange, match="in every class"):
        loss_parts(np.eye(4), np.array([0, 0, 2, 2]))
