"""CKA of all pairs of layers: its definition, its invariances, and what it finds in networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.networks import Perceptron, blobs, loader
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layerwise.errors import InvalidData, UnknownName
from layerwise.profiling.similarity import similarity
from layerwise.statistics import PairwiseHSIC, gram


def unbiased_hsic(first: np.ndarray, second: np.ndarray) -> float:
    """Song et al. 2012, equation 5, from the features; sums over indices that all differ."""
    one, two = first @ first.T, second @ second.T
    n = len(one)
    pairs = triples = quadruples = 0.0
    for i in range(n):
        for j in range(n):
            if j == i:
                continue
            pairs += one[i, j] * two[i, j]
            for q in range(n):
                if q in (i, j):
                    continue
                triples += one[i, j] * two[i, q]
                for r in range(n):
                    if r not in (i, j, q):
                        quadruples += one[i, j] * two[q, r]
    two_of, three, four = n * (n - 1), n * (n - 1) * (n - 2), n * (n - 1) * (n - 2) * (n - 3)
    return pairs / two_of + quadruples / four - 2 * triples / three


def accumulated(rows: list[np.ndarray], columns: list[np.ndarray]) -> PairwiseHSIC:
    found = PairwiseHSIC(len(rows), len(columns))
    found.update([gram(torch.from_numpy(x)) for x in rows], [gram(torch.from_numpy(x)) for x in columns])
    return found


def drawn(seed: int, count: int = 7) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((count, width)) for width in (3, 5, 2)]


def test_a_batch_has_the_estimate_of_the_definition():
    rows, columns = drawn(0), drawn(1)[:2]
    found = accumulated(rows, columns)
    expected = [[unbiased_hsic(one, two) for two in columns] for one in rows]
    np.testing.assert_allclose(found.cross.numpy(), expected, rtol=1e-10, atol=1e-12)


@given(st.integers(0, 2**31), st.floats(0.1, 10), st.floats(-1e4, 1e4))
@settings(deadline=None, max_examples=30)
def test_rotation_scale_and_shift_of_a_layer_change_nothing(seed, scale, shift):
    rows = drawn(seed)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))[0]
    moved = [rows[0], scale * rows[1] @ turn + shift, rows[2]]
    np.testing.assert_allclose(
        accumulated(moved, moved).finish(), accumulated(rows, rows).finish(), rtol=1e-6, atol=1e-8
    )


def test_batches_are_summed_before_they_are_compared_and_merge_as_one():
    first, second = accumulated(drawn(0), drawn(0)), accumulated(drawn(1), drawn(1))
    cross = first.cross + second.cross
    first.merge(second)
    own = cross.diagonal()
    np.testing.assert_allclose(first.finish(), cross / (own[:, None] * own[None]).sqrt(), rtol=1e-12)


def test_a_layer_is_itself_and_independent_layers_are_nothing_alike_on_average():
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    found = similarity(net, [blobs(64, seed=seed) for seed in range(4)], layers="leaves")["cka"]
    np.testing.assert_allclose(np.diag(found.values), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found.values, found.values.T, rtol=1e-10)
    apart = np.mean([accumulated(drawn(seed, 40), drawn(-seed - 1 + 2**20, 40)).finish()[0, 1] for seed in range(200)])
    assert abs(apart) < 0.01


def test_two_networks_are_compared_layer_by_layer():
    torch.manual_seed(0)
    base, other = Perceptron(), Perceptron(width=12)
    data = {"train": loader(*blobs()), "test": loader(*blobs(40, seed=1))}
    found = similarity(base, data, other)
    assert found["cka"].dims == ("layer", "other_layer")
    assert found["other_features"].values.tolist() == [12, 12, 3]
    same = similarity(base, data, base)
    np.testing.assert_allclose(same["cka"].values, similarity(base, data)["cka"].values, rtol=1e-12)
    assert not np.allclose(found["cka"].values, same["cka"].values)
    assert similarity(base, data, split="test").attrs["split"] == "test"


def test_a_loader_of_its_own_gives_each_network_the_same_samples(caplog):
    torch.manual_seed(0)
    base, other = Perceptron(), Perceptron(width=12)
    inputs, labels = blobs()
    same = similarity(base, loader(inputs, labels), other, other_data=loader(inputs, labels))
    assert same.attrs["same_samples"] == "inputs and labels are equal"
    np.testing.assert_allclose(same["cka"], similarity(base, loader(inputs, labels), other)["cka"])
    with caplog.at_level("WARNING"):
        found = similarity(base, loader(inputs, labels), other, other_data=loader(2 * inputs, labels))
    assert found.attrs["same_samples"].startswith("labels are equal, inputs are not")
    assert "taken for the same samples" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: loader(*blobs(80)), "only the second has a batch 4|batches of other sizes"),
        (lambda x, y: loader(x[:48], y[:48]), "only the first has a batch 3"),
        (lambda x, y: loader(x.flip(0), y.flip(0)), "another order: labels of 'label' differ in batch 0"),
        (lambda x, y: loader(x, (y + 1) % 3), "labels of 'label' differ"),
        # Equal labels, and samples of a class change places.
        (lambda x, y: loader(x.roll(3, 0), y), "same samples in another order: inputs of batch 0"),
        (lambda x, y: loader(x, y, size=20), "batches of other sizes"),
        (lambda x, y: [(x, {"other": y})], "other sizes"),
        (lambda x, y: [(a, {"other": b}) for a, b in loader(x, y)], "other targets: label; other"),
    ],
)
def test_other_samples_or_another_order_are_refused(change, message):
    inputs, labels = blobs()
    with pytest.raises(InvalidData, match=message):
        similarity(Perceptron(), loader(inputs, labels), Perceptron(), other_data=change(inputs, labels))


def test_another_split_is_refused():
    data = {"train": loader(*blobs()), "test": loader(*blobs(40, seed=1))}
    with pytest.raises(UnknownName, match="no split 'test'"):
        similarity(Perceptron(), data, Perceptron(), split="test", other_data={"train": loader(*blobs())})
    with pytest.raises(InvalidData, match="other samples|another order|other sizes"):
        similarity(Perceptron(), data, Perceptron(), other_data={"train": loader(*blobs(40, seed=1))})


def test_data_of_one_name_is_prepared_for_each_network():
    found = similarity(digits(), "sklearn:digits?limit=40", digits(), layers="leaves")
    assert found.attrs["same_samples"] == "inputs and labels are equal"


def digits() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)).eval()


def test_samples_of_a_batch_that_is_too_small_are_left_out_and_counted():
    assert similarity(Perceptron(), loader(*blobs(34))).attrs["left_out"] == 2


def test_what_cannot_be_compared_is_told():
    net = Perceptron()
    with pytest.raises(InvalidData, match="fewer than four samples"):
        similarity(net, loader(*blobs(9), size=3))
    with pytest.raises(UnknownName, match="no split 'tset'; nearest: test"):
        similarity(net, {"train": loader(*blobs()), "test": loader(*blobs())}, split="tset")
