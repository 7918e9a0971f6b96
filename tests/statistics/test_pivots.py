"""Pivots of classes."""

from __future__ import annotations

import torch

from layerwise.statistics.pivots import due_classes, first_pivots, move_to_means


def test_first_pivots_are_the_means_of_fresh_classes():
    features = torch.randn(30, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e4
    rows, fresh = torch.arange(30) % 3, torch.tensor([True, False, True])
    pivots = first_pivots(features, rows, fresh, torch.float64)
    torch.testing.assert_close(
        pivots, torch.stack([features[rows == row].mean(0) for row in (0, 2)]), rtol=1e-14, atol=0
    )


def test_equal_samples_are_their_own_pivot():
    features = torch.full((7, 3), 0.1)
    assert torch.equal(
        first_pivots(features, torch.zeros(7, dtype=torch.int64), torch.tensor([True]), features.dtype), features[:1]
    )


def test_pivots_move_until_they_have_settled():
    counts, settled = torch.tensor([16, 15, 300]), torch.tensor([4, 4, 64])
    assert due_classes(torch.arange(3), counts, settled).tolist() == [0]


def test_moved_sums_are_those_about_the_means():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(20, 4, dtype=torch.float64, generator=generator)
    pivot = torch.randn(1, 4, dtype=torch.float64, generator=generator)
    before = pivot.clone()
    residual = features - pivot
    total, square, spread = residual.sum(0, keepdim=True), residual.square().sum()[None], residual.square().sum(0)
    count = torch.full((1, 1), 20.0, dtype=torch.float64)
    shift = move_to_means(torch.tensor([0]), count, pivot, total, square, spread, keep=True)
    about = features - features.mean(0)
    torch.testing.assert_close(pivot, features.mean(0, keepdim=True))
    torch.testing.assert_close(shift, pivot - before)
    torch.testing.assert_close(total, torch.zeros(1, 4, dtype=torch.float64))
    torch.testing.assert_close(square, about.square().sum()[None])
    torch.testing.assert_close(spread, about.square().sum(0))
