"""Transferability: laws, limits and anchors of `h_score` and `logme`, and the shrunk covariance of the former."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import oracle
from helpers.feature_cases import CASES, clusters
from helpers.measure import evidence_of, tensors, value
from helpers.networks import Perceptron, blobs, loader

from layerwise import profile
from layerwise.metrics.transfer import ledoit_wolf
from layerwise.statistics import FourthMoment, largest_evidence


def measured(name: str, features: np.ndarray, labels: np.ndarray, convention: str = "default") -> float:
    return float(value(name, evidence_of(*tensors(features, labels), convention=convention)))


def turned(features: np.ndarray) -> np.ndarray:
    width = features.shape[1]
    return features @ np.linalg.qr(np.random.default_rng(3).standard_normal((width, width)))[0]


@pytest.mark.parametrize(("name", "convention"), [("h_score", "default"), ("h_score", "ibrahim"), ("logme", "default")])
@pytest.mark.parametrize("case", ["random", "unequal_classes", "more_classes_than_dims"])
def test_rotation_and_scale_change_nothing(name, convention, case):
    given = CASES[case]()
    plain = measured(name, given.features, given.labels, convention)
    moved = measured(name, 2.0**20 * turned(given.features), given.labels, convention)
    assert moved == pytest.approx(plain, rel=1e-9)


def test_an_invertible_map_and_an_offset_change_no_h_score():
    given = CASES["random"]()
    matrix = np.random.default_rng(0).standard_normal((12, 12))
    plain = measured("h_score", given.features, given.labels)
    assert measured("h_score", given.features @ matrix + 100.0, given.labels) == pytest.approx(plain, rel=1e-8)


def test_zero_padding_changes_nothing():
    given = CASES["unequal_classes"]()
    padded = np.pad(given.features, ((0, 0), (0, 5)))
    for name in ("h_score", "logme"):
        assert measured(name, padded, given.labels) == pytest.approx(measured(name, given.features, given.labels))


def test_collapsed_classes_have_the_greatest_score():
    given = CASES["simplex"]()
    assert measured("h_score", given.features, given.labels) == pytest.approx(given.classes - 1, rel=1e-12)


def test_classes_without_a_difference_have_no_score():
    given = clusters([500, 500], 3, distance=0.0, seed=0)
    assert measured("h_score", given.features, given.labels) < 0.02


def test_labels_that_equal_the_features_have_infinite_evidence():
    labels = np.arange(30) % 3
    assert measured("logme", np.eye(3)[labels], labels) == np.inf


def test_constant_features_have_the_evidence_of_noise():
    given = clusters([50, 50], 3, distance=0.0, seed=1)
    # With all weights at zero the noise has the variance of the indicator, one half.
    nothing = -(np.log(2 * np.pi * 0.5) + 1) / 2
    evidence = measured("logme", given.features - given.features.mean(0), given.labels)
    assert nothing - 1e-12 <= evidence < nothing + 0.02


def test_more_features_than_samples_have_a_finite_evidence_equal_to_the_oracle():
    given = clusters([4, 4, 4], 30, seed=5)
    measured_value = measured("logme", given.features, given.labels)
    assert np.isfinite(measured_value)
    assert measured_value == pytest.approx(oracle.logme(given.features, given.labels), rel=1e-6)


def test_rounding_is_no_direction_that_reveals_labels():
    given = CASES["simplex_rotated"]()
    exact = measured("logme", given.features, given.labels)
    rounded = float(value("logme", evidence_of(*tensors(given.features, given.labels, torch.float32))))
    assert rounded == pytest.approx(exact, rel=1e-5)


def test_the_higher_of_two_maxima_is_found():
    """A narrow direction carries the target, wide ones a little of it: large weights win, small ones are a hill too."""
    variances, along = np.array([1e4, 1e-8]), np.array([[0.5, 1.5]])
    beyond, count = np.array([1e-6]), 40.0
    grid = np.exp(np.linspace(-60, 30, 20_001))[:, None]
    loss = (along * grid / (grid + variances)).sum(1) + beyond
    best = (-np.log1p(variances / grid).sum(1) / 2 - count / 2 * np.log(loss)).max() / count
    expected = best + (np.log(count) - 1 - np.log(2 * np.pi)) / 2
    assert largest_evidence(variances, along, beyond, count)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_intensity_of_the_shrinkage_equals_the_oracle_and_scikit_learn(name):
    from sklearn.covariance import ledoit_wolf_shrinkage

    given = CASES[name]()
    measured_value = ledoit_wolf(evidence_of(*tensors(given.features, given.labels))["covariance"])
    assert measured_value == pytest.approx(oracle.ledoit_wolf(given.features), rel=1e-6, abs=1e-12)
    if name not in ("simplex_two_classes", "offset", "collapsed_offset"):
        assert measured_value == pytest.approx(ledoit_wolf_shrinkage(given.features), rel=1e-6, abs=1e-9)


def test_few_samples_are_shrunk_far_and_many_hardly():
    cases = [clusters([count] * 3, 20, seed=2) for count in (4, 2000)]
    first, second = (ledoit_wolf(evidence_of(*tensors(case.features, case.labels))["covariance"]) for case in cases)
    assert second < 0.02 < 0.1 < first


def test_merged_shards_have_the_fourth_moment_of_the_whole():
    given = CASES["unequal_classes"]()
    features, labels = tensors(given.features, given.labels)
    moments = evidence_of(features, labels)["moments"]
    whole, one, other = (FourthMoment(moments) for _ in range(3))
    whole.update(features)
    one.update(features[::2])
    other.update(features[1::2])
    one.merge(other)
    assert one.finish() == pytest.approx(whole.finish(), rel=1e-12)


def test_only_shrinking_takes_a_second_pass():
    data = {"train": loader(*blobs()), "test": loader(*blobs(seed=1))}
    net = Perceptron()
    plain, shrunk = (profile(net, data, metrics=["h_score"], convention=name) for name in ("default", "ibrahim"))
    assert (plain.attrs["passes"], shrunk.attrs["passes"]) == (1, 2)
    assert (shrunk["h_score"] < plain["h_score"]).all()
    with torch.no_grad():
        features = net.first(blobs(seed=1)[0]).double().numpy()
    expected = oracle.h_score(features, blobs(seed=1)[1].numpy(), convention="ibrahim", eps=2.0**-23)
    assert shrunk["h_score"].values[0, 1, 0, 0] == pytest.approx(expected, rel=1e-6)
