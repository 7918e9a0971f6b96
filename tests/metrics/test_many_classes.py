"""Many classes: pairs are taken block by block, and the numbers are those of all pairs at once."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import oracle
from helpers.measure import evidence_of, tensors, value
from helpers.networks import Perceptron, blobs, loader

from layerwise.metrics import CONVENTIONS, pairs
from layerwise.profiling import profile
from layerwise.statistics import bayesian_evidence as evidence
from layerwise.statistics import centers

PAIRWISE = ("cdnv", "equiangularity", "max_angle", "etf_error", "orthogonality_error", "hyperspherical_energy")


def drawn(classes: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two or three samples a class, with an offset."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), np.arange(classes), np.arange(0, classes, 2)])
    means = 3 + generator.standard_normal((classes, width))
    return means[labels] + 0.3 * generator.standard_normal((len(labels), width)), labels


@pytest.fixture
def small_blocks(monkeypatch):
    for module, name in ((pairs, "BLOCK"), (centers, "JUDGED"), (evidence, "BLOCK")):
        monkeypatch.setattr(module, name, 100)
    monkeypatch.setattr(pairs, "_FEW", 4)


@pytest.mark.parametrize(("classes", "width"), [(9, 40), (30, 16), (40, 6)])
def test_blocks_change_no_number(small_blocks, classes, width):
    features, labels = drawn(classes, width)
    evidence = evidence_of(*tensors(features, labels))
    for name in (*PAIRWISE, "ncc_error", "majority_cosine", "minority_cosine"):
        np.testing.assert_allclose(value(name, evidence), getattr(oracle, name)(features, labels), rtol=1e-8)
    np.testing.assert_allclose(value("logme", evidence), oracle.logme(features, labels), rtol=1e-6)
    expected = oracle.probe_error(features, labels, features, labels, 1e-3)
    np.testing.assert_allclose(value("probe_error", evidence), expected)


def test_close_class_means_differ():
    # From the first class, the squared distance of two others is below the rounding of their squared lengths.
    means = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1e-8, 0.0], [0.0, 1.0, 0.0]])
    labels = np.arange(400) % 4
    features = means[labels] + 1e-10 * np.random.default_rng(0).standard_normal((400, 3))
    assert value("ncc_error", evidence_of(*tensors(features, labels))) == 0


def test_blocks_of_samples_change_no_error(monkeypatch):
    network, splits = Perceptron(), {"train": loader(*blobs()), "test": loader(*blobs(30, seed=1))}
    whole = profile(network, splits, metrics=["nc1", "ncc_*", "probe_error"])
    monkeypatch.setattr(centers, "JUDGED", 20)
    parts = profile(network, splits, metrics=["nc1", "ncc_*", "probe_error"])
    for name in whole.data_vars:
        np.testing.assert_allclose(whole[name], parts[name], rtol=1e-9)


def test_close_class_means_keep_their_distance(small_blocks):
    features, labels = drawn(30, 8)
    means = np.stack([features[labels == label].mean(0) for label in range(30)])
    # Next to a large norm the difference of two inner products would lose 1e-18.
    features[labels == 7] += means[3] - means[7] + 1e-9
    evidence = evidence_of(*tensors(features, labels))
    np.testing.assert_allclose(value("cdnv", evidence), oracle.cdnv(features, labels), rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5, 21])
def test_every_pair_comes_once(small_blocks, count):
    seen = [
        pair
        for first, second, values in pairs.pair_cosines(np.random.default_rng(0).standard_normal((count, 3)))
        for pair in zip(
            np.broadcast_to(first, values.shape).flat, np.broadcast_to(second, values.shape).flat, strict=True
        )
    ]
    assert sorted(seen) == [(i, j) for i in range(count) for j in range(i + 1, count)]


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_rare_classes_that_merge_have_a_cosine_of_one(convention):
    generator = np.random.default_rng(0)
    # Three frequent classes and three rare ones that share a mean.
    directions = np.eye(4)[[0, 1, 2, 3, 3, 3]]
    labels = np.repeat(np.arange(6), [30, 30, 30, 3, 3, 3])
    features = directions[labels]
    evidence = evidence_of(
        *tensors(features + 1e-9 * generator.standard_normal(features.shape), labels), convention=convention
    )
    assert value("minority_cosine", evidence) == pytest.approx(1, abs=1e-6)
    assert value("majority_cosine", evidence) < 0


def test_equal_classes_have_no_minority():
    features, labels = drawn(4, 6)
    evidence = evidence_of(*tensors(features[:8], labels[:8]))
    assert np.isnan(value("minority_cosine", evidence))
    np.testing.assert_allclose(value("majority_cosine", evidence), oracle.majority_cosine(features[:8], labels[:8]))
