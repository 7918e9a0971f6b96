"""The random projection is the same everywhere and keeps squared distances as closely as it says."""

from __future__ import annotations

import pytest
import torch

from layerwise.features.sketch import Sketch


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_seed_determines_the_projection():
    features = drawn(3, 1000)
    first = Sketch(1000, 64, seed=1)(features)
    torch.manual_seed(99)
    assert torch.equal(Sketch(1000, 64, seed=1)(features), first)
    assert not torch.allclose(Sketch(1000, 64, seed=2)(features), first)


def test_it_draws_no_global_random_number():
    before = torch.get_rng_state()
    Sketch(100, 10)(drawn(2, 100))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("features", "width"), [(4096, 64), (1000, 300), (130, 128)])
def test_squared_distances_are_kept_with_the_stated_deviation(features, width):
    # 400 projections of one pair: the mean lies within five standard errors, the spread within a quarter.
    one, other = drawn(2, features)
    truth = float(((one - other) ** 2).sum())
    ratios = torch.tensor(
        [
            float(((sketch(one[None]) - sketch(other[None])) ** 2).sum()) / truth
            for sketch in (Sketch(features, width, seed) for seed in range(400))
        ]
    )
    error = Sketch(features, width).error
    assert error == pytest.approx((2 / width) ** 0.5)
    assert abs(float(ratios.mean()) - 1) < 5 * error / 400**0.5
    assert float(ratios.std()) < 1.25 * error
    if features > 10 * width:
        assert float(ratios.std()) > 0.75 * error


def test_buckets_are_equally_filled():
    # Of a one in each place exactly one bucket gets a sign.
    projected = Sketch(96, 32)(torch.eye(96))
    assert torch.equal(projected.abs().sum(1), torch.ones(96))
    assert torch.equal(projected.abs().sum(0), torch.full((32,), 3.0))


def test_the_projection_is_linear():
    sketch, one, other = Sketch(500, 40), drawn(2, 500), drawn(2, 500, seed=1)
    torch.testing.assert_close(sketch(2 * one - other), 2 * sketch(one) - sketch(other), rtol=1e-12, atol=1e-12)


def test_a_large_common_offset_leaves_the_sums_exact():
    # Whole numbers, so that features with the offset are exact in single precision too.
    noise = torch.randint(-8, 9, (4, 60_000), generator=torch.Generator().manual_seed(0)).float()
    sketch = Sketch(60_000, 100)
    offset = sketch(torch.full((1, 60_000), 1e6, dtype=torch.float64))
    exact = sketch(noise.double()) + offset
    projected = sketch(noise + 1e6)
    assert projected.dtype == torch.float32
    assert torch.equal(projected, exact.float())


@pytest.mark.parametrize(
    ("given", "kept"),
    [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float64, torch.float64)],
)
def test_the_projection_is_at_least_single_precision(given, kept):
    features = drawn(2, 64).to(given)
    projected = Sketch(64, 8)(features)
    assert projected.dtype == kept
    torch.testing.assert_close(projected.double(), Sketch(64, 8)(features.double()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("features", "width"), [(30_000, 100), (96, 32), (50, 64)])
def test_a_linear_map_of_the_projection_is_lifted_to_one_of_the_features(features, width):
    sketch, one, weights = Sketch(features, width), drawn(3, features), drawn(width, 4, seed=1)
    torch.testing.assert_close(one @ sketch.lift(weights), sketch(one) @ weights, rtol=1e-10, atol=1e-10)


def test_two_features_rarely_share_a_bucket():
    # Of 600 projections to 20 buckets two features meet in 30, whichever two: neighbours, far apart, one ring apart.
    features, width = 40_000, 20
    pairs = torch.tensor([(0, 1), (0, 20), (5, 8225), (0, 39_999), (100, 20_100), (8191, 8192)])
    together = torch.zeros(len(pairs))
    for seed in range(600):
        lifted = Sketch(features, width, seed).lift(torch.arange(1.0, width + 1)[:, None]).abs()[:, 0]
        together += lifted[pairs[:, 0]] == lifted[pairs[:, 1]]
    assert (together <= 30 + 5 * (600 / 20) ** 0.5).all(), together
    assert together[1:].max() > 0
