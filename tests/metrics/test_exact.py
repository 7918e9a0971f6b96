"""Every classification metric equals its brute-force oracle, on the inputs that are hard to be exact on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import oracle
from helpers.feature_cases import CASES
from helpers.measure import RIDGE, evidence_of, tensors, value

from layerwise.metrics import CONVENTIONS

FROM_LABELS = (
    *("nc1_trace", "equinorm", "equiangularity", "max_angle", "etf_error", "hyperspherical_energy"),
    *("majority_cosine", "minority_cosine"),
)
WITH_TOLERANCE = ("nc1", "vci", "between_rank", "h_score", "logme")
PLAIN = ("cdnv", "orthogonality_error", "class_variance", "class_norm", "class_count", "ncc_error", "class_ncc_error")
RANKS = ("stable_rank", "effective_rank", "participation_ratio", "numerical_rank", "feature_norm")
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


def assert_equal(measured: np.ndarray, expected: object, scale: float = 1.0) -> None:
    # An exact zero of the definition may come out as rounding noise of numbers of order one.
    np.testing.assert_allclose(measured, np.asarray(expected, dtype=float), rtol=1e-6, atol=1e-13 * scale)


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest):
    return CASES[request.param]()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_metrics_equal_the_oracle_for_any_type_and_batch_size(case, dtype, size):
    features, labels = tensors(case.features, case.labels, DTYPES[dtype])
    if dtype == "bfloat16" and not np.isfinite(features.double().numpy()).all():
        pytest.skip("beyond the range of the type")
    given, eps = features.double().numpy(), torch.finfo(features.dtype).eps
    evidence = evidence_of(features, labels, sizes=size)
    square = float((given**2).mean())
    for name in FROM_LABELS + PLAIN:
        scale = {"class_variance": square, "class_norm": square**0.5}.get(name, 1.0)
        assert_equal(value(name, evidence), getattr(oracle, name)(given, case.labels), scale)
    for name in WITH_TOLERANCE:
        assert_equal(value(name, evidence), getattr(oracle, name)(given, case.labels, eps=eps))
    assert_equal(value("separation", evidence), oracle.separation(given, case.labels, eps=eps))
    for name in RANKS:
        assert_equal(value(name, evidence), getattr(oracle, name)(given))


@pytest.mark.parametrize("convention", sorted(set(CONVENTIONS) - {"default"}))
@pytest.mark.parametrize("name", ["random", "unequal_classes", "one_sample_class", "absent_class", "offset"])
def test_conventions_equal_the_oracle(convention, name):
    case = CASES[name]()
    features, labels = tensors(case.features, case.labels)
    evidence = evidence_of(features, labels, convention=convention)
    for metric in ("nc1", *FROM_LABELS, "class_norm", "h_score"):
        expected = getattr(oracle, metric)(case.features, case.labels, convention=convention)
        assert_equal(value(metric, evidence), expected)
    unequal = len(set(np.unique(case.labels, return_counts=True)[1])) > 1
    if convention == "he_su" and unequal:
        assert np.isnan(value("vci", evidence))
    else:
        assert_equal(value("vci", evidence), oracle.vci(case.features, case.labels, convention=convention))


@pytest.mark.parametrize("name", ["random", "unequal_classes", "absent_class", "more_classes_than_dims", "offset"])
def test_metrics_of_the_networks_own_classifier_equal_the_oracle(name):
    case = CASES[name]()
    generator = np.random.default_rng(1)
    width = case.features.shape[1]
    weight = generator.standard_normal((case.classes, width))
    next_map = generator.standard_normal((width + 3, width))
    predicted = generator.integers(0, case.classes, len(case.labels))
    features, labels = tensors(case.features, case.labels)
    evidence = evidence_of(
        features, labels, predictions=torch.from_numpy(predicted), classifier=weight, next_map=next_map
    )
    assert_equal(value("self_duality", evidence), oracle.self_duality(case.features, case.labels, weight))
    assert_equal(value("weight_alignment", evidence), oracle.weight_alignment(case.features, case.labels, next_map))
    assert_equal(value("ncc_mismatch", evidence), oracle.ncc_mismatch(case.features, case.labels, predicted))


@pytest.mark.parametrize("name", ["random", "unequal_classes", "absent_class", "offset", "collapsed"])
def test_a_test_split_is_judged_by_the_means_and_the_probe_of_train(name):
    case = CASES[name]()
    half = len(case.labels) // 2
    train, train_labels = case.features[:half], case.labels[:half]
    test, test_labels = case.features[half:], case.labels[half:]
    evidence = evidence_of(*tensors(test, test_labels), train=tensors(train, train_labels))
    means = oracle.class_means(train, train_labels)
    assert_equal(value("ncc_error", evidence), oracle.ncc_error(test, test_labels, means=means))
    assert_equal(value("class_ncc_error", evidence), oracle.class_ncc_error(test, test_labels, means=means))
    assert_equal(value("nc1", evidence), oracle.nc1(test, test_labels))
    assert_equal(value("probe_error", evidence), oracle.probe_error(train, train_labels, test, test_labels, RIDGE))


def test_a_label_unknown_to_train_is_an_error():
    train = tensors(np.array([[0.0], [1.0]]), np.array([0, 1]))
    test = tensors(np.array([[0.0], [1.0], [1.0], [0.1]]), np.array([0, 1, 2, 2]))
    assert value("ncc_error", evidence_of(*test, train=train)) == 0.5


def test_nc1_of_collapsed_features_is_accurate():
    case = CASES["collapsed"]()
    measured = value("nc1", evidence_of(*tensors(case.features, case.labels), sizes=7))
    assert 1e-11 < measured < 1e-9


def test_a_simplex_frame_has_collapsed_by_every_metric():
    case = CASES["simplex"]()
    evidence = evidence_of(*tensors(case.features, case.labels))
    for name in ("nc1", "nc1_trace", "cdnv", "vci", "equinorm", "equiangularity", "max_angle", "etf_error"):
        assert abs(value(name, evidence)) < 1e-13, name


def test_one_class_is_nan():
    features, labels = tensors(np.random.default_rng(0).standard_normal((5, 3)), np.zeros(5, dtype=int))
    evidence = evidence_of(features, labels)
    for name in ("nc1", "nc1_trace", "cdnv", "vci", "etf_error", "ncc_error", "probe_error", "class_norm"):
        assert np.isnan(value(name, evidence)).all(), name
    assert np.isfinite(value("class_variance", evidence)).all()
    assert np.isfinite(value("stable_rank", evidence))


def test_samples_that_were_not_drawn_count_as_frequent_or_rare():
    case = CASES["random"]()
    evidence = evidence_of(*tensors(case.features, case.labels))
    sizes = np.ones(case.classes)
    sizes[1:3] = 100
    means = oracle.class_means(case.features, case.labels)
    means = np.stack([means[label] for label in sorted(means)])
    means = (means - means.mean(0)) / np.linalg.norm(means - means.mean(0), axis=1)[:, None]
    rare = np.delete(means, [1, 2], axis=0)
    cosines = (rare @ rare.T)[np.triu_indices(len(rare), 1)]
    evidence["sizes"] = sizes
    assert value("majority_cosine", evidence) == pytest.approx(float(means[1] @ means[2]))
    assert value("minority_cosine", evidence) == pytest.approx(float(cosines.mean()))
    assert value("class_count", evidence).tolist() == sizes.tolist()
