"""Few samples a class do not pull the debiased metrics towards collapse."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from feature_cases import CASES, clusters
from measure import evidence_of, moments_of, tensors, value
from networks import Perceptron, blobs, loader

from layerwise.metrics import CONVENTIONS
from layerwise.profiling import profile
from layerwise.sketch import Sketch
from layerwise.statistics import noise_variance

DEBIASED = replace(CONVENTIONS["default"], debiased=True)


def simulated(counts: list[int], name: str, repeats: int = 150) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The truth of Gaussian classes, and what many samples of them give, plain and debiased: shape ``(repeats, 2)``."""
    generator = np.random.default_rng(0)
    convention = CONVENTIONS[name]
    dims, labels = 64, np.repeat(np.arange(len(counts)), counts)
    spread = np.linspace(0.5, 1.5, dims)
    means = generator.standard_normal((len(counts), dims))
    shares = np.array(counts) / sum(counts)
    centred = means - (shares @ means if convention.global_mean == "samples" else means.mean(0))
    weights = shares if convention.between == "samples" else np.full(len(counts), 1 / len(counts))
    between, trace = centred.T @ (weights[:, None] * centred), (spread**2).sum()
    divided = len(counts) if convention.divided else 1
    truth = {
        "nc1": np.trace(np.diag(spread**2) @ np.linalg.pinv(between, rcond=1e-10)) / divided,
        "nc1_trace": trace / np.trace(between),
        "cdnv": np.mean([trace / ((one - other) ** 2).sum() for one, other in combinations(means, 2)]),
    }
    found: dict[str, list[list[float]]] = {metric: [] for metric in truth}
    for _ in range(repeats):
        features = means[labels] + spread * generator.standard_normal((len(labels), dims))
        evidence = evidence_of(*tensors(features, labels), convention=convention)
        corrected = evidence | {"convention": replace(convention, debiased=True)}
        for metric, rows in found.items():
            rows.append([float(value(metric, evidence)), float(value(metric, corrected))])
    return truth, {metric: np.array(rows) for metric, rows in found.items()}


@pytest.mark.parametrize("convention", ["default", "he_su", "he_su_imbalanced"])
@pytest.mark.parametrize("counts", [[6] * 5, [4, 8, 12, 24]], ids=["equal", "unequal"])
def test_means_over_many_samples_are_the_truth(counts, convention):
    truth, found = simulated(counts, convention)
    for metric, values in found.items():
        plain, debiased = (values.mean(0) - truth[metric]) / (values.std(0, ddof=1) / np.sqrt(len(values)))
        assert plain < -15, metric
        assert abs(debiased) < 3, metric


@pytest.mark.parametrize("name", ["random", "unequal_classes", "offset", "collapsed_offset"])
def test_squared_lengths_come_from_pairs_of_different_samples(name):
    case = CASES[name]()
    evidence = evidence_of(*tensors(case.features, case.labels), convention=DEBIASED)
    own = [case.features[case.labels == label] - case.features.mean(0) for label in range(case.classes)]

    def product(one: int, other: int) -> float:
        """Mean product of two different samples."""
        products = own[one] @ own[other].T
        if one != other:
            return float(products.mean())
        return float((products.sum() - np.trace(products)) / (len(products) * (len(products) - 1)))

    gram = np.array([[product(one, other) for other in range(case.classes)] for one in range(case.classes)])
    spread = [rows.var(0, ddof=1).sum() for rows in own]
    pairs = [
        (spread[c] + spread[k]) / (2 * (gram[c, c] + gram[k, k] - 2 * gram[c, k]))
        for c, k in combinations(range(case.classes), 2)
    ]
    np.testing.assert_allclose(value("cdnv", evidence), np.mean(pairs), rtol=1e-6)
    within = np.average(spread, weights=[len(rows) for rows in own])
    np.testing.assert_allclose(
        value("nc1_trace", evidence), within / (np.trace(gram) / case.classes - gram.mean()), rtol=1e-6
    )


def test_with_many_samples_a_class_nothing_is_left_to_correct():
    features, labels = tensors(*_two(clusters([4000] * 3, 6)))
    for name in ("nc1", "nc1_trace", "cdnv"):
        plain, debiased = (value(name, evidence_of(features, labels, convention=c)) for c in ("default", DEBIASED))
        np.testing.assert_allclose(debiased, plain, rtol=2e-3)


def test_classes_that_are_not_told_apart_are_infinitely_variable():
    # Every class is a copy of the same samples, moved by far less than the error of their mean.
    samples = np.random.default_rng(0).standard_normal((10, 8))
    features = np.concatenate([samples + 1e-3 * shift for shift in np.eye(8)[:3]])
    evidence = evidence_of(*tensors(features, np.repeat(np.arange(3), 10)), convention=DEBIASED)
    assert all(np.isposinf(value(name, evidence)) for name in ("nc1", "nc1_trace", "cdnv"))


@pytest.mark.parametrize("seed", range(20))
def test_a_direction_that_is_not_told_apart_beside_one_that_is_makes_no_number_out_of_rounding(seed):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), 10)
    features = generator.standard_normal((30, 8)) + 3 * np.eye(3, 8)[np.minimum(labels, 1)]
    plain, debiased = (
        value("nc1", evidence_of(*tensors(features, labels), convention=c)) for c in ("default", DEBIASED)
    )
    assert np.isposinf(debiased) or abs(debiased) < 1e6 * plain


def test_the_error_of_one_sample_is_not_known():
    case = CASES["one_sample_class"]()
    evidence = evidence_of(*tensors(case.features, case.labels), convention=DEBIASED)
    assert all(np.isnan(value(name, evidence)) for name in ("nc1", "nc1_trace", "cdnv"))


def test_a_projection_tells_the_variance_along_the_error_of_a_mean():
    features, labels = tensors(*_two(clusters([60] * 4, 3000)))
    features = features * torch.linspace(0.1, 2.0, 3000) ** 2
    whole = noise_variance(moments_of([(features, labels)]).finish(), 3000)
    narrow = noise_variance(moments_of([(Sketch(3000, 512)(features), labels)]).finish(), 3000)
    spread = torch.linspace(0.1, 2.0, 3000).double() ** 4
    np.testing.assert_allclose([whole, narrow], float((spread**2).sum() / spread.sum()), rtol=0.1)


def test_a_profile_is_debiased_where_it_is_asked_for_and_says_so():
    torch.manual_seed(0)
    network, data = Perceptron(), loader(*blobs(18))
    plain, debiased = (
        profile(network, data, metrics=["nc1*", "cdnv", "separation"], debiased=on) for on in (False, True)
    )
    assert (plain.attrs["debiased"], debiased.attrs["debiased"]) == ("False", "True")
    for name in ("nc1", "nc1_trace", "cdnv"):
        assert (debiased[name] > plain[name]).all()
    assert debiased["separation"].equals(plain["separation"])


def _two(case: object) -> tuple[np.ndarray, np.ndarray]:
    return case.features, case.labels
