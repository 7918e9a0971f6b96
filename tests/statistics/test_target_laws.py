"""Laws that the moments of features and targets keep whatever the data: any batches, any order, any workers."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from helpers.measure import regression_evidence_of, split, targets_of
from helpers.regression_cases import CASES, Case, features_and_targets
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise import metrics
from layerwise.statistics import TargetAccumulator, TargetMoments, merged, restore, state_of

INVARIANT = ("nrc1", "nrc1_normalized", "nrc2_cka", "linear_mse", "linear_r2", "target_rank", "target_dimensions")


def tensors(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(case.features), torch.from_numpy(case.targets)


def assert_same(one: TargetMoments, other: TargetMoments) -> None:
    of_features, of_targets = np.trace(one.covariance), np.trace(one.target_covariance)
    scales = {"covariance": of_features, "target_covariance": of_targets, "cross": np.sqrt(of_features * of_targets)}
    for field in dataclasses.fields(TargetMoments):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if first is None:
            assert second is None
            continue
        atol = 1e-11 * scales.get(field.name, 0.0) + 1e-300
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=max(atol, 1e-15 if field.name == "directions" else 0))


@given(features_and_targets(), st.data())
@settings(deadline=None, max_examples=60)
def test_batches_and_order_change_no_target_moments(case, data):
    features, targets = tensors(case)
    order = torch.tensor(data.draw(st.permutations(range(len(targets)))))
    sizes = data.draw(st.integers(1, len(targets)))
    whole = targets_of([(features, targets)]).finish()
    assert_same(whole, targets_of(split(features[order], targets[order], sizes)).finish())


@given(features_and_targets(), st.data())
@settings(deadline=None, max_examples=60)
def test_merged_shards_have_the_target_moments_of_the_whole(case, data):
    features, targets = tensors(case)
    owner = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(targets), max_size=len(targets))))

    def shard(number: int) -> TargetAccumulator:
        return targets_of(split(features[owner == number], targets[owner == number], 3))

    left = shard(0)
    left.merge(shard(1))
    left.merge(shard(2))
    tail = shard(1)
    tail.merge(shard(2))
    right = shard(0)
    right.merge(tail)
    whole = targets_of([(features, targets)]).finish()
    assert_same(whole, left.finish())
    assert_same(whole, right.finish())


@pytest.mark.parametrize("name", ["offset", "collapsed_offset", "outlier_first"])
def test_merging_costs_no_digits_where_a_plain_sum_would(name):
    features, targets = tensors(CASES[name]())
    one = targets_of(split(features[::2], targets[::2], 5))
    one.merge(targets_of(split(features[1::2], targets[1::2], 5)))
    whole, found = targets_of([(features, targets)]).finish(), one.finish()
    for attribute in ("covariance", "cross", "target_covariance"):
        expected = getattr(whole, attribute)
        np.testing.assert_allclose(getattr(found, attribute), expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())
    spectrum = whole.principal[0]
    np.testing.assert_allclose(found.principal[0], spectrum, rtol=1e-6, atol=1e-15 * spectrum[0])


def test_merging_leaves_the_other_as_it_was():
    features, targets = tensors(CASES["random"]())
    one, other = targets_of([(features[:40], targets[:40])]), targets_of([(features[40:], targets[40:])])
    before = other.finish()
    one.merge(other)
    assert_same(before, other.finish())
    empty = TargetAccumulator()
    empty.merge(other)
    empty.update(features[:40], targets[:40])
    assert_same(before, other.finish())
    assert_same(one.finish(), empty.finish())


def test_a_state_that_went_through_a_file_goes_on_to_the_last_bit():
    features, targets = tensors(CASES["offset"]())
    batches = split(features, targets, 7)
    file = io.BytesIO()
    torch.save(state_of(targets_of(batches[:5])), file)
    file.seek(0)
    resumed = restore(TargetAccumulator(), torch.load(file, weights_only=True))
    for batch in batches[5:]:
        resumed.update(*batch)
    whole = targets_of(batches).finish()
    for field in dataclasses.fields(TargetMoments):
        np.testing.assert_array_equal(getattr(resumed.finish(), field.name), getattr(whole, field.name))


def test_a_worker_without_a_sample_changes_nothing():
    features, targets = tensors(CASES["random"]())
    state = state_of(targets_of([(features, targets)]))
    found = merged([None, state_of(TargetAccumulator()), state], TargetAccumulator)
    assert_same(targets_of([(features, targets)]).finish(), found.finish())


def test_an_empty_batch_is_taken_in():
    features, targets = tensors(CASES["random"]())
    found = targets_of([(features[:0], targets[:0]), (features, targets), (features[:0], targets[:0])])
    assert_same(targets_of([(features, targets)]).finish(), found.finish())


def test_what_is_given_is_not_written_to():
    features, targets = tensors(CASES["random"]())
    before = features.clone(), targets.clone()
    targets_of(split(features, targets, 1))
    assert torch.equal(features, before[0])
    assert torch.equal(targets, before[1])


@given(features_and_targets(), st.integers(0, 100))
@settings(deadline=None, max_examples=40)
def test_rotation_scale_and_zero_padding_of_features_change_nothing(case, seed):
    features, targets = tensors(case)
    width = features.shape[1]
    rotation = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed)).double()).Q
    plain = regression_evidence_of(features, targets)
    spectrum = plain["regression"].principal[0]
    others = [
        regression_evidence_of(features @ rotation, targets),
        regression_evidence_of(features * 2.0**7, targets),
        regression_evidence_of(torch.nn.functional.pad(features, (0, 3)), targets),
    ]
    # Next to the edge of the top directions, or of full rank, a rounding may turn them.
    cut = min(targets.shape[1], width)
    edge = bool(cut < width and spectrum[cut - 1] < (1 + 1e-3) * spectrum[cut]) or spectrum[-1] < 1e-6 * spectrum[0]
    for name in INVARIANT:
        if edge and name not in ("nrc1", "nrc2_cka", "target_rank", "target_dimensions"):
            continue
        expected = metrics.compute(metrics.get(name), plain, 0)
        for other in others:
            found = metrics.compute(metrics.get(name), other, 0)
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8, err_msg=name)
