"""A complex feature counts as two real ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from layerwise.features.complex_features import real_features
from layerwise.profiling import profile


class Spectral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv1d(2, 4, 3, dtype=torch.complex64)
        self.inner = nn.Linear(4, 5, dtype=torch.complex64)
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.inner(self.mix(x).mean(2)).abs())


def within_over_between(features: np.ndarray, labels: np.ndarray) -> float:
    """From complex features, by the definition of `nc1_trace`."""
    means = np.stack([features[labels == own].mean(0) for own in (0, 1)])
    within = (abs(features - means[labels]) ** 2).sum() / len(labels)
    return float(within / (abs(means - means.mean(0)) ** 2).sum(1).mean())


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.data())
def test_distances_are_kept(shape: list[int], data: st.DataObject) -> None:
    channels = data.draw(st.integers(1, len(shape) - 1))
    values = torch.complex(torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64))
    real = real_features(values, channels)
    assert real.shape[channels] == 2 * shape[channels]
    gram = torch.einsum("ai,bi->ab", values.flatten(1), values.flatten(1).conj()).real
    torch.testing.assert_close(real.flatten(1) @ real.flatten(1).T, gram)


def test_real_activations_are_not_copied() -> None:
    values = torch.randn(3, 2)
    assert real_features(values, 1) is values


@pytest.mark.parametrize("reduce", ["auto", "flatten"])
def test_a_profile_measures_complex_layers(reduce: str) -> None:
    torch.manual_seed(0)
    net, labels = Spectral(), torch.arange(60) % 2
    x = torch.complex(torch.randn(60, 2, 9), 3 * torch.randn(60, 2, 9) + labels[:, None, None])
    ds = profile(net, [(x, labels)], layers=["mix", "inner"], reduce=reduce)
    with torch.no_grad():
        maps = net.mix(x)
        inner = net.inner(maps.mean(2)).numpy()
    mix = maps.flatten(1).numpy() if reduce == "flatten" else maps.mean(2).numpy()
    expected = [within_over_between(features.astype(complex), labels.numpy()) for features in (mix, inner)]
    np.testing.assert_allclose(ds["nc1_trace"].values.ravel(), expected, rtol=1e-5)
    assert ds["features"].values.tolist() == [2 * mix.shape[1], 10]


def test_complex_outputs_are_no_class_scores() -> None:
    net = nn.Sequential(nn.Linear(3, 4, dtype=torch.complex64), nn.Linear(4, 2, dtype=torch.complex64))
    x = torch.randn(20, 3, dtype=torch.complex64)
    ds = profile(net, [(x, torch.arange(20) % 2)], metrics=["nc1", "self_duality"])
    assert ds["network_error"].isnull().all()
    assert ds["nc1"].notnull().all()
