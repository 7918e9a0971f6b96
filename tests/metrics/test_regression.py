"""Every regression metric equals its brute-force oracle, on the inputs that are hard to be exact on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import regression_oracle as oracle
from helpers.measure import regression_evidence_of
from helpers.oracle import in_range
from helpers.regression_cases import CASES, Case, made

from layerwise import metrics

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


def tensors(case: Case, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(case.features).to(dtype), torch.from_numpy(case.targets)


def value(name: str, evidence: dict[str, object]) -> float:
    return metrics.compute(metrics.get(name), evidence, 0).item()


def assert_equal(measured: float, expected: float, scale: float = 1.0) -> None:
    # Zeros, and differences of numbers of order one, are exact to the rounding of those numbers.
    np.testing.assert_allclose(measured, expected, rtol=1e-6, atol=1e-13 * scale)


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_metrics_equal_the_oracle_for_any_type_and_batch_size(case, dtype, size):
    features, targets = tensors(case, DTYPES[dtype])
    given = features.double().numpy()
    next_map = np.random.default_rng(1).standard_normal((5, given.shape[1]))
    evidence = regression_evidence_of(features, targets, sizes=size, next_map=next_map, head=case.head)
    assert_equal(value("nrc1", evidence), oracle.nrc1(given, case.targets))
    assert_equal(value("nrc1_normalized", evidence), oracle.nrc1_normalized(given, case.targets))
    assert_equal(value("nrc2", evidence), oracle.nrc2(given, next_map))
    assert_equal(value("nrc2_cka", evidence), oracle.nrc2_cka(given, case.targets))
    assert_equal(value("nrc3_alignment", evidence), oracle.nrc3_alignment(given, case.targets, next_map))
    assert_equal(value("nrc3", evidence), oracle.nrc3(case.targets, case.head), 1e5)
    spread = case.targets.var(axis=0).max()
    seen = in_range(given, eps=torch.finfo(DTYPES[dtype]).eps)
    assert_equal(value("linear_mse", evidence), oracle.linear_mse(seen, case.targets), spread)
    assert_equal(value("linear_r2", evidence), oracle.linear_r2(seen, case.targets))
    expected = oracle.linear_logme(given, case.targets, eps=torch.finfo(DTYPES[dtype]).eps)
    # An outlier costs the covariance of all others digits.
    lost = oracle.EPS * (np.abs(given).max() / np.median(np.abs(given[given != 0]))) ** 2
    assert value("linear_logme", evidence) == pytest.approx(expected, rel=1e-6, abs=max(1e-6, lost))
    assert value("target_rank", evidence) == oracle.directions_of_variance(given)
    assert value("target_dimensions", evidence) == oracle.directions_of_variance(case.targets)


def test_evidence_follows_the_unit_of_targets_and_is_infinite_for_exact_ones():
    case = made(seed=5)
    features, targets = tensors(case)
    once, thrice = (value("linear_logme", regression_evidence_of(features, scale * targets)) for scale in (1.0, 3.0))
    assert once - thrice == pytest.approx(np.log(3.0), abs=1e-9)
    assert value("linear_logme", regression_evidence_of(features, features[:, :2] - features[:, 2:4])) == np.inf


@pytest.mark.parametrize("name", ["random", "offset", "uneven", "one_dimension", "more_targets_than_features"])
def test_another_split_uses_the_readout_of_train(name):
    case = CASES[name]()
    half = len(case.targets) // 2
    train, rest = Case(case.features[:half], case.targets[:half], case.head), slice(half, None)
    test = Case(case.features[rest] * 1.5, case.targets[rest], case.head)
    evidence = regression_evidence_of(*tensors(test), train=tensors(train))
    arguments = (test.features, test.targets, train.features, train.targets)
    assert_equal(value("linear_mse", evidence), oracle.linear_mse(*arguments))
    assert_equal(value("linear_r2", evidence), oracle.linear_r2(*arguments))
    assert_equal(value("nrc1", evidence), oracle.nrc1(test.features, test.targets))


def test_standardised_targets_equal_targets_of_unit_variance():
    case = CASES["uneven"]()
    spread = case.targets.std(axis=0)
    standard = Case(case.features, case.targets / spread, case.head / spread[:, None])
    one = regression_evidence_of(*tensors(case), head=case.head, unit=spread)
    for name in ("nrc2_cka", "nrc3", "linear_mse", "linear_r2", "target_dimensions"):
        other = regression_evidence_of(*tensors(standard), head=standard.head)
        assert_equal(value(name, one), value(name, other))


def test_features_on_the_targets_directions_have_collapsed_by_every_metric():
    generator = np.random.default_rng(0)
    targets = generator.standard_normal((200, 3))
    head = 2.0 * np.linalg.qr(generator.standard_normal((10, 3)))[0].T
    features = targets @ head
    evidence = regression_evidence_of(
        torch.from_numpy(features), torch.from_numpy(targets - targets.mean(0)), next_map=head, head=head
    )
    for name in ("nrc1", "nrc1_normalized", "nrc2", "linear_mse"):
        assert abs(value(name, evidence)) < 1e-13, name
    for name in ("nrc2_cka", "nrc3_alignment", "linear_r2"):
        assert abs(value(name, evidence) - 1) < 1e-13, name


def test_the_head_of_the_unconstrained_features_model_has_no_nrc3():
    """``W W^T = sqrt(lH/lW) (T^(1/2) - sqrt(c) I)``, the optimum of Andriopoulos 2024."""
    case = made(dimension=4, seed=3)
    covariance = np.cov(case.targets.T, ddof=0)
    values, axes = np.linalg.eigh(covariance)
    for share in (0.0, 0.3, 0.9):
        gram = axes @ np.diag(np.sqrt(values) - np.sqrt(share * values[0])) @ axes.T
        head = np.linalg.cholesky(gram + 1e-15 * np.eye(4)) @ np.eye(4, 12)
        assert value("nrc3", regression_evidence_of(*tensors(case), head=3 * head)) < 1e-12


@pytest.mark.parametrize("dimension", [1, 3])
def test_a_round_target_covariance_needs_equal_orthogonal_rows(dimension):
    targets = np.concatenate([np.eye(dimension), -np.eye(dimension)])
    features = np.random.default_rng(0).standard_normal((2 * dimension, 6))
    given = torch.from_numpy(features), torch.from_numpy(targets)
    rows = 5 * np.linalg.qr(np.random.default_rng(1).standard_normal((6, dimension)))[0].T
    assert value("nrc3", regression_evidence_of(*given, head=rows)) < 1e-13


def test_a_target_of_dimension_five_and_rank_two_is_found_as_rank_two():
    case = CASES["target_of_lower_rank"]()
    evidence = regression_evidence_of(*tensors(case))
    assert value("target_dimensions", evidence) == value("target_rank", evidence) == 2
    assert value("nrc1", evidence) < 1e-8


def test_nrc1_of_collapsed_features_is_accurate():
    for name in ("collapsed", "collapsed_offset"):
        assert 1e-10 < value("nrc1", regression_evidence_of(*tensors(CASES[name]()), sizes=7)) < 1e-8


@pytest.mark.parametrize("what", ["features", "targets", "both"])
def test_constant_features_or_targets_are_nan(what):
    case = made(seed=3)
    features, targets = tensors(case)
    features = torch.full_like(features, 0.1) if what != "targets" else features
    targets = torch.full_like(targets, 0.7) if what != "features" else targets
    evidence = regression_evidence_of(features, targets, sizes=7, head=case.head, next_map=case.head)
    still = {"features": ("nrc1", "nrc2_cka", "nrc3_alignment"), "targets": ("nrc2_cka", "linear_r2")}
    for name in still.get(what, (*still["features"], *still["targets"])):
        assert np.isnan(value(name, evidence)), name
    assert value("target_rank", evidence) == (0 if what != "targets" else oracle.directions_of_variance(case.features))
    assert value("target_dimensions", evidence) == (0 if what != "features" else 3)
    assert np.isfinite(value("linear_mse", evidence))


def test_one_sample_is_no_error():
    evidence = regression_evidence_of(torch.ones(1, 4), torch.ones(1, 2), head=np.ones((2, 4)))
    assert value("linear_mse", evidence) == 0
    assert np.isnan(value("nrc1", evidence))


def test_without_a_linear_map_its_metrics_are_nan():
    evidence = regression_evidence_of(*tensors(made()))
    for name in ("nrc2", "nrc3", "nrc3_alignment"):
        assert np.isnan(value(name, evidence))


def test_a_map_of_another_width_than_the_projected_features_is_not_compared():
    evidence = regression_evidence_of(*tensors(made()), next_map=np.ones((2, 40)))
    assert np.isnan(value("nrc2", evidence))
    assert np.isnan(value("nrc3_alignment", evidence))
