"""Frames are what they say, and the distance from them is that of the metrics."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import oracle

from layerwise import LayerwiseError
from layerwise.theory import OutOfRange
from layerwise.theory.frames import (
    frame_distance,
    gram_vectors,
    orthogonal_frame,
    orthogonal_frame_gram,
    random_frame,
    simplex_etf,
    simplex_etf_gram,
)


@pytest.mark.parametrize("classes", [2, 3, 6, 11])
@pytest.mark.parametrize("spare", [-1, 0, 4])
def test_a_simplex_etf_has_equal_norms_and_the_widest_angles(classes, spare):
    frame = simplex_etf(classes, classes + spare, norm=2.5)
    assert frame.shape == (classes, classes + spare)
    np.testing.assert_allclose(np.linalg.norm(frame, axis=1), 2.5)
    cosines = (frame @ frame.T / 2.5**2)[np.triu_indices(classes, 1)]
    np.testing.assert_allclose(cosines, -1 / (classes - 1))
    np.testing.assert_allclose(frame.sum(0), 0, atol=1e-12)


def test_an_orthogonal_frame_keeps_its_norms_and_a_dead_class():
    norms = [3.0, 0.0, 0.5]
    np.testing.assert_allclose(orthogonal_frame(norms, 5) @ orthogonal_frame(norms, 5).T, orthogonal_frame_gram(norms))


def test_a_rotation_changes_the_vectors_and_not_the_frame():
    gram = simplex_etf_gram(4, 3.0)
    first, second = (random_frame(gram, 6, np.random.default_rng(seed)) for seed in (0, 1))
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose(first @ first.T, gram, atol=1e-12)
    assert frame_distance(7 * second, gram) < 1e-12


def test_the_distances_are_those_of_the_metrics():
    generator = np.random.default_rng(3)
    features, labels = generator.standard_normal((40, 6)), np.repeat(np.arange(5), 8)
    means = np.stack([features[labels == label].mean(0) for label in range(5)])
    centred = means - means.mean(0)
    assert frame_distance(centred, simplex_etf_gram(5)) == pytest.approx(oracle.etf_error(features, labels), rel=1e-9)
    orthogonal = frame_distance(means, orthogonal_frame_gram(np.ones(5)))
    assert orthogonal == pytest.approx(oracle.orthogonality_error(features, labels), rel=1e-9)


def test_a_frame_that_does_not_fit_its_dimension_is_refused():
    with pytest.raises(OutOfRange, match="at least as many dimensions as its rank, 4"):
        simplex_etf(5, 3)
    with pytest.raises(OutOfRange, match="at least 3 dimensions"):
        orthogonal_frame([1.0, 1.0, 1.0], 2)
    with pytest.raises(ValueError, match="two classes"):
        simplex_etf_gram(1)
    assert issubclass(OutOfRange, LayerwiseError)


def test_vectors_of_a_gram_matrix_have_it():
    vectors = np.random.default_rng(0).standard_normal((4, 3))
    found = gram_vectors(vectors @ vectors.T, 8)
    np.testing.assert_allclose(found @ found.T, vectors @ vectors.T, atol=1e-12)
