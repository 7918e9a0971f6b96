"""Few samples a class do not pull the debiased metrics towards collapse."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from helpers.feature_cases import CASES, clusters
from helpers.measure import evidence_of, moments_of, tensors, value
from helpers.networks import Perceptron, blobs, loader

from layerwise.features.sketch import Sketch
from layerwise.metrics import CONVENTIONS
from layerwise.profiling import profile
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
    estimates: dict[str, list[list[float]]] = {metric: [] for metric in truth}
    for _ in range(repeats):
        features = means[labels] + spread * generator.standard_normal((len(labels), dims))
        evidence = evidence_of(*tensors(features, labels), convention=convention)
        corrected = evidence | {"convention": replace(convention, debiased=True)}
        for metric, rows in estimates.items():
            rows.append([float(value(metric, evidence)), float(value(metric, corrected))])
    return truth, {metric: np.array(rows) for metric, rows in estimates.items()}


@pytest.mark.parametrize("convention", ["default", "he_su", "he_su_imbalanced"])
@pytest.mark.parametrize("counts", [[6] * 5, [4, 8, 12, 24]], ids=["equal", "unequal"])
def test_the_mean_over_many_draws_is_the_truth(counts, convention):
    truth, estimates = simulated(counts, convention)
    for metric, values in estimates.items():
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


def fits(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`vci` and `h_score`, which fit the labels by the features, plain and debiased: shape ``(2, 2)``."""
    evidence = evidence_of(*tensors(features, labels))
    return np.array(
        [
            [float(value(name, evidence)), float(value(name, evidence | {"convention": DEBIASED}))]
            for name in ("vci", "h_score")
        ]
    )


@pytest.mark.parametrize(("counts", "dims"), [([10] * 5, 12), ([6, 12, 24], 8), ([3] * 9, 4)])
def test_labels_by_chance_explain_nothing(counts, dims):
    generator = np.random.default_rng(0)
    features, labels = generator.standard_normal((sum(counts), dims)), np.repeat(np.arange(len(counts)), counts)
    estimates = np.array([fits(features, generator.permutation(labels)) for _ in range(400)])
    plain, debiased = (estimates.mean(0) - np.array([[1], [0]])).T
    error = estimates[:, :, 1].std(0, ddof=1) / np.sqrt(len(estimates))
    # Where classes of unequal size count alike, as in the index, this holds to first order.
    exact = slice(0 if len(set(counts)) == 1 else 1, 2)
    assert (np.abs(debiased) < 3 * error)[exact].all()
    assert (np.abs(debiased) < np.abs(plain) / 8).all()


@pytest.mark.parametrize("counts", [[20] * 5, [10, 20, 30, 60]], ids=["equal", "unequal"])
def test_chance_of_few_samples_is_subtracted(counts):
    generator = np.random.default_rng(0)
    labels, spread = np.repeat(np.arange(len(counts)), counts), np.linspace(0.5, 1.5, 12)
    means = 0.6 * generator.standard_normal((len(counts), 12))
    noise = generator.standard_normal((200, len(labels), 12))
    estimates = np.array([fits(means[labels] + spread * own, labels) for own in noise]).mean(0)
    shares = np.array(counts) / sum(counts)
    truth = []
    for weights, origin in ((np.full(len(counts), 1 / len(counts)), means.mean(0)), (shares, shares @ means)):
        between = (means - origin).T @ (weights[:, None] * (means - origin))
        truth.append(np.trace(np.linalg.solve(np.diag(spread**2) + between, between)))
    full = len(counts) - 1
    plain, debiased = np.abs(estimates - np.array([1 - truth[0] / full, truth[1]])[:, None]).T
    # The rest is the bias of a squared correlation itself (Lawley 1959), whatever the number of features.
    left = (full + 1) * full * (truth[1] / full) * (1 - truth[1] / full) / len(labels) * np.array([1 / full, 1])
    assert (debiased < left).all()
    assert (plain > 4 * left).all()


def test_features_without_variance_do_not_count():
    case = clusters([20] * 4, 6)
    padded = np.concatenate([case.features, np.full((80, 40), 3.0)], axis=1)
    np.testing.assert_allclose(fits(padded, case.labels), fits(case.features, case.labels), rtol=1e-9)


def test_no_more_samples_than_features_is_nan():
    case = clusters([6] * 4, 30)
    assert np.isnan(fits(case.features, case.labels)[:, 1]).all()


def test_many_samples_need_no_correction():
    features, labels = tensors(*_two(clusters([4000] * 3, 6)))
    for name in ("nc1", "nc1_trace", "cdnv", "vci", "h_score"):
        plain, debiased = (value(name, evidence_of(features, labels, convention=c)) for c in ("default", DEBIASED))
        np.testing.assert_allclose(debiased, plain, rtol=2e-3)


def test_equal_class_means_are_infinitely_variable():
    # Every class is a copy of the same samples, moved by far less than the error of their mean.
    samples = np.random.default_rng(0).standard_normal((10, 8))
    features = np.concatenate([samples + 1e-3 * shift for shift in np.eye(8)[:3]])
    evidence = evidence_of(*tensors(features, np.repeat(np.arange(3), 10)), convention=DEBIASED)
    assert all(np.isposinf(value(name, evidence)) for name in ("nc1", "nc1_trace", "cdnv"))


@pytest.mark.parametrize("seed", range(20))
def test_a_direction_of_rounding_makes_no_finite_number(seed):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), 10)
    features = generator.standard_normal((30, 8)) + 3 * np.eye(3, 8)[np.minimum(labels, 1)]
    plain, debiased = (
        value("nc1", evidence_of(*tensors(features, labels), convention=c)) for c in ("default", DEBIASED)
    )
    assert np.isposinf(debiased) or abs(debiased) < 1e6 * plain


def test_a_class_of_one_sample_is_nan():
    case = CASES["one_sample_class"]()
    evidence = evidence_of(*tensors(case.features, case.labels), convention=DEBIASED)
    assert all(np.isnan(value(name, evidence)) for name in ("nc1", "nc1_trace", "cdnv"))


def test_a_projection_estimates_the_variance_along_the_error_of_a_mean():
    features, labels = tensors(*_two(clusters([60] * 4, 3000)))
    features = features * torch.linspace(0.1, 2.0, 3000) ** 2
    whole = noise_variance(moments_of([(features, labels)]).finish(), 3000)
    narrow = noise_variance(moments_of([(Sketch(3000, 512)(features), labels)]).finish(), 3000)
    spread = torch.linspace(0.1, 2.0, 3000).double() ** 4
    np.testing.assert_allclose([whole, narrow], float((spread**2).sum() / spread.sum()), rtol=0.1)


def test_a_debiased_profile_records_it():
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
