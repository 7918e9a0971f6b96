"""Classes that are given another row keep their numbers, and go on and merge there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.measure import moments_of, split
from hypothesis import given
from hypothesis import strategies as st

from layerwise.statistics import ClassMoments

LABELS = torch.arange(30) % 3
FEATURES = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).double() + 5 * LABELS[:, None]


@given(st.lists(st.integers(0, 7), min_size=3, max_size=3, unique=True))
def test_a_class_is_the_same_in_another_row(rows):
    moved, plain = moments_of(split(FEATURES, LABELS, 8)), moments_of(split(FEATURES, LABELS, 8)).finish()
    moved.move(torch.tensor(rows), 8)
    found = moved.finish()
    order = np.argsort(rows)
    assert found.classes.tolist() == sorted(rows)
    for name in ("counts", "means", "variances"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name)[order])
    np.testing.assert_allclose(found.within, plain.within, rtol=1e-12, atol=1e-15)


@given(st.permutations(range(5)))
def test_it_goes_on_and_merges_there(rows):
    places = torch.tensor(rows)
    one, two = moments_of(split(FEATURES[:17], LABELS[:17], 5)), moments_of(split(FEATURES[20:], LABELS[20:], 5))
    for part in (one, two):
        part.move(places, 5)
    one.update(FEATURES[17:20], places[LABELS[17:20]])
    one.merge(two)
    whole = moments_of(split(FEATURES, places[LABELS], 30)).finish()
    found = one.finish()
    assert found.classes.tolist() == whole.classes.tolist()
    np.testing.assert_allclose(found.means, whole.means, rtol=1e-12)
    np.testing.assert_allclose(found.variances, whole.variances, rtol=1e-10)


@pytest.mark.parametrize("classes", [0, 4])
def test_what_has_no_sample_moves_too(classes):
    empty = ClassMoments(classes)
    empty.move(torch.tensor([2, 0, 1, 3]), 6)
    empty.update(FEATURES, LABELS + 3)
    assert empty.finish().classes.tolist() == [3, 4, 5]
