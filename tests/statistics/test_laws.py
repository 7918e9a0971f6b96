"""Laws that the statistics keep whatever the data: any batches, any order, any split among workers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers.feature_cases import CASES, labelled_features
from helpers.measure import evidence_of, moments_of, split, tensors, value
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.statistics import CenterProjections, Centers, ClassMoments, Moments

LAWFUL = ("nc1", "nc1_trace", "cdnv", "ncc_error", "etf_error", "equinorm", "max_angle", "separation")


def assert_same(one: Moments, other: Moments) -> None:
    scale = float(one.variances.max(initial=0.0)) + float((one.centered**2).sum(1).max())
    for field in dataclasses.fields(Moments):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if first is not None:
            np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-11 * scale + 1e-300)


@given(labelled_features(), st.data())
@settings(deadline=None, max_examples=60)
def test_batches_and_order_change_no_moments(case, data):
    features, labels = tensors(case.features, case.labels)
    order = torch.tensor(data.draw(st.permutations(range(len(labels)))))
    sizes = data.draw(st.integers(1, len(labels)))
    whole = moments_of([(features, labels)]).finish()
    assert_same(whole, moments_of(split(features[order], labels[order], sizes)).finish())


@given(labelled_features(), st.data())
@settings(deadline=None, max_examples=60)
def test_merged_shards_have_the_moments_of_the_whole(case, data):
    features, labels = tensors(case.features, case.labels)
    owner = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(labels), max_size=len(labels))))

    def shard(number: int) -> ClassMoments:
        return moments_of(split(features[owner == number], labels[owner == number], 3))

    left = shard(0)
    left.merge(shard(1))
    left.merge(shard(2))
    tail = shard(1)
    tail.merge(shard(2))
    right = shard(0)
    right.merge(tail)
    whole = moments_of([(features, labels)]).finish()
    assert_same(whole, left.finish())
    assert_same(whole, right.finish())


@pytest.mark.parametrize("name", ["offset", "collapsed_offset", "outlier_first", "far_clusters_sorted"])
def test_merging_costs_no_digits_where_a_plain_sum_would(name):
    case = CASES[name]()
    features, labels = tensors(case.features, case.labels)
    whole = moments_of([(features, labels)])
    merged = moments_of(split(features[::2], labels[::2], 5))
    merged.merge(moments_of(split(features[1::2], labels[1::2], 5)))
    one, other = whole.finish(), merged.finish()
    np.testing.assert_allclose(one.variances, other.variances, rtol=1e-6)
    np.testing.assert_allclose(one.within, other.within, rtol=1e-6, atol=1e-9 * np.abs(one.within).max())


def test_projections_of_shards_merge_into_those_of_the_whole():
    case = CASES["unequal_classes"]()
    features, labels = tensors(case.features, case.labels)
    centers = Centers.of(moments_of([(features, labels)]).finish(), case.classes)
    whole, first, second = (CenterProjections(centers, centers) for _ in range(3))
    for projections, rows in ((whole, slice(None)), (first, slice(None, None, 2)), (second, slice(1, None, 2))):
        nearest, _ = projections.update(features[rows], labels[rows])
        projections.compare(nearest, labels[rows])
    first.merge(second)
    (span, falls), (merged_span, merged_falls) = whole.finish(), first.finish()
    np.testing.assert_allclose(span.within, merged_span.within, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(span.within_by_class, merged_span.within_by_class, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(falls.errors, merged_falls.errors)
    assert falls.mismatches == merged_falls.mismatches


@pytest.mark.parametrize("width", [32, 5000])
def test_the_scatter_of_a_collapsed_layer_keeps_its_digits(width):
    # Whole numbers and noise that adds up to zero in every class: the class means are the same however small it is.
    generator = torch.Generator().manual_seed(0)
    means = torch.randint(-9, 10, (4, width), generator=generator).double().repeat(6, 1)
    noise = torch.randint(-9, 10, (12, width), generator=generator).double()
    noise, labels = torch.cat([noise, -noise]), torch.arange(4).repeat(6)
    seen = []
    for size in (1.0, 2.0**-20):
        features = means + size * noise
        centers = Centers.of(moments_of([(features, labels)], scatter=False).finish(), 4)
        projections = CenterProjections(centers, centers)
        projections.update(features, labels)
        span, _ = projections.finish()
        seen.append(span.coordinates @ span.within @ span.coordinates.T / size**2)
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-6, atol=1e-6 * np.abs(seen[0]).max())


@given(labelled_features(), st.integers(0, 100))
@settings(deadline=None, max_examples=40)
def test_rotation_scale_and_zero_padding_change_nothing(case, seed):
    features, labels = tensors(case.features, case.labels)
    width = features.shape[1]
    rotation = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed)).double()).Q
    plain = evidence_of(features, labels)
    turned = evidence_of(features @ rotation, labels)
    scaled = evidence_of(features * 2.0**7, labels)
    padded = evidence_of(torch.nn.functional.pad(features, (0, 3)), labels)
    for name in LAWFUL:
        expected = value(name, plain)
        if not np.isfinite(expected) or _on_an_edge(name, plain):
            continue
        for other in (turned, scaled, padded):
            np.testing.assert_allclose(value(name, other), expected, rtol=1e-6, atol=1e-9, err_msg=name)


def _on_an_edge(name: str, evidence: dict[str, object]) -> bool:
    """Whether a rounding may flip the result: a direction next to the tolerance, a tie between two means."""
    coordinates = evidence["span"].coordinates
    values = np.linalg.svd(coordinates, compute_uv=False)
    return name in ("nc1", "separation", "ncc_error", "etf_error", "max_angle", "equinorm", "cdnv") and bool(
        values[0] == 0 or (values[: len(coordinates) - 1] < 1e-6 * values[0]).any()
    )


def test_classes_that_appear_late_make_room_for_themselves():
    features = torch.arange(12.0).view(6, 2)
    labels = torch.tensor([0, 0, 3, 3, 1, 1])
    grown = moments_of(split(features, labels, 2), classes=0).finish()
    assert_same(moments_of([(features, labels)], classes=4).finish(), grown)
    assert grown.classes.tolist() == [0, 1, 3]


def test_a_class_of_one_sample_has_no_variance():
    moments = moments_of([(torch.randn(3, 4) + 1e6, torch.tensor([0, 0, 1]))]).finish()
    assert moments.variances[1] == 0.0


def test_many_classes_in_a_batch_change_no_sums():
    features, labels = torch.randn(200, 5), torch.arange(200) % 50
    at_once = moments_of([(features, labels)]).finish()
    assert_same(at_once, moments_of(split(features, labels, 10)).finish())
