"""Rounding is not taken for signal: invertible maps change no invariant metric, in any type."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.measure import evidence_of, regression_evidence_of, value
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from layerwise import metrics
from layerwise.profiling import profile

law = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)


def widening(generator: np.random.Generator, width: int, wide: int, condition: float) -> Tensor:
    """A linear map of full column rank and that condition, shape ``(wide, width)``."""
    left = np.linalg.qr(generator.standard_normal((wide, width)))[0]
    right = np.linalg.qr(generator.standard_normal((width, width)))[0]
    return torch.from_numpy(left * np.geomspace(1, 1 / condition, width) @ right)


def behind(features: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    """Features behind a Linear, in their own type."""
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(offset)
        return linear.to(features.dtype)(features)


@st.composite
def maps(draw: st.DrawFn) -> tuple[np.random.Generator, int, Tensor, Tensor]:
    generator = np.random.default_rng(draw(seeds))
    width = draw(st.integers(2, 24))
    wide = draw(st.integers(width, 6 * width))
    weight = widening(generator, width, wide, draw(st.sampled_from([1.0, 30.0, 1e3])))
    offset = draw(st.sampled_from([0.0, 1.0, 10.0])) * torch.from_numpy(generator.standard_normal(wide))
    return generator, width, weight, offset


@law
@given(maps(), st.integers(2, 9), st.sampled_from([torch.float32, torch.float64]), st.integers(5, 60))
def test_an_invertible_map_changes_no_share_between_classes(drawn, classes, dtype, size):
    generator, width, weight, offset = drawn
    labels = torch.arange(12 * width + 60) % classes
    means = generator.standard_normal((classes, width))
    features = torch.from_numpy(means[labels] + generator.standard_normal((len(labels), width))).to(dtype)
    one = evidence_of(features, labels)
    other = evidence_of(behind(features, weight, offset), labels, sizes=size)
    for name in ("vci", "h_score"):
        assert value(name, other) == pytest.approx(value(name, one), rel=2e-3), name


@law
@given(maps(), st.sampled_from([torch.float32, torch.float64]), st.integers(5, 60))
def test_an_invertible_map_changes_no_affine_fit(drawn, dtype, size):
    generator, width, weight, offset = drawn
    features = torch.from_numpy(generator.standard_normal((12 * width + 60, width))).to(dtype)
    targets = features[:, :2].double() + torch.from_numpy(generator.standard_normal((len(features), 2)))
    one = regression_evidence_of(features, targets)
    other = regression_evidence_of(behind(features, weight, offset), targets, sizes=size)
    for name in ("linear_r2", "linear_mse"):
        actual, expected = (float(metrics.compute(metrics.get(name), evidence, 0)) for evidence in (other, one))
        assert actual == pytest.approx(expected, rel=2e-3), name


@law
@given(seeds, st.sampled_from([torch.float32, torch.float64]))
def test_a_rotation_into_more_features_changes_no_evidence(seed, dtype):
    generator = np.random.default_rng(seed)
    labels = torch.arange(300) % 4
    features = torch.from_numpy(generator.standard_normal((4, 8))[labels] + generator.standard_normal((300, 8)))
    features = features.to(dtype)
    rotated = behind(features, widening(generator, 8, 40, 1.0), torch.zeros(40))
    one, other = (value("logme", evidence_of(values, labels)) for values in (features, rotated))
    assert other == pytest.approx(one, abs=1e-3)


@law
@given(seeds, st.sampled_from([torch.bfloat16, torch.float16]), st.integers(2, 60), st.integers(4, 48))
def test_half_precision_equals_single_precision(seed, dtype, classes, width):
    generator = np.random.default_rng(seed)
    labels = torch.arange(20 * classes + 8 * width) % classes
    means = 2 * generator.standard_normal((classes, width))
    features = torch.from_numpy(means[labels] + generator.standard_normal((len(labels), width)))
    half, single = (evidence_of(features.to(kind), labels) for kind in (dtype, torch.float32))
    for name in ("nc1", "vci", "h_score", "between_rank"):
        assert value(name, half) == pytest.approx(value(name, single), rel=0.02), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_class_means_of_low_rank_keep_it(dtype):
    generator = np.random.default_rng(0)
    labels = torch.arange(600) % 12
    means = generator.standard_normal((12, 3)) @ generator.standard_normal((3, 40))
    means = torch.from_numpy(means)
    collapsed = evidence_of(means[labels].to(dtype), labels)
    assert value("between_rank", collapsed) == 3
    assert value("nc1", collapsed) == 0


class Upcast(nn.Module):
    """A map whose features leave in single precision, whatever they were made in."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.last, self.fc = nn.Linear(8, 64), nn.Identity(), nn.Linear(64, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.fc(self.last(self.wide(inputs).float()))


def test_the_coarsest_arithmetic_sets_the_rounding():
    torch.manual_seed(0)
    labels = torch.arange(400) % 3
    inputs = torch.randn(3, 8)[labels] + torch.randn(400, 8)
    network = Upcast().eval()
    plain = profile(network, [(inputs, labels)], layers=["last"], metrics=["vci"])
    with torch.autocast("cpu", torch.bfloat16):
        cast = profile(network, [(inputs, labels)], layers=["last"], metrics=["vci"])
    assert cast.vci.item() == pytest.approx(plain.vci.item(), rel=0.02)
