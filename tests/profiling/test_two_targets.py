"""Two targets in one run of the data: what a network was trained for collapses with depth, what it was not does not."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import xarray as xr
from sklearn.datasets import load_digits
from torch import Tensor, nn

from layerwise import profile

COLOURS = torch.tensor([[1.0, 0.2, 0.2], [0.2, 1.0, 0.2], [0.2, 0.2, 1.0]])


def coloured_digits() -> tuple[Tensor, dict[str, Tensor]]:
    """Digits, each in one of three colours at random: pictures ``(n, 3 * 64)``, labels of both."""
    pictures, digits = load_digits(return_X_y=True)
    colours = torch.randint(0, 3, (len(digits),), generator=torch.Generator().manual_seed(0))
    grey = torch.tensor(pictures, dtype=torch.float32) / 16
    painted = (COLOURS[colours][:, :, None] * grey[:, None]).flatten(1)
    return painted, {"digit": torch.tensor(digits), "colour": colours}


def trained(inputs: Tensor, labels: Tensor) -> nn.Module:
    torch.manual_seed(0)
    widths = [inputs.shape[1], 96, 96, 96]
    hidden = [nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()) for a, b in pairwise(widths)]
    network = nn.Sequential(*hidden, nn.Linear(96, int(labels.max()) + 1))
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(25):
        for rows in torch.randperm(len(inputs)).split(128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs[rows]), labels[rows]).backward()
            optimiser.step()
    return network


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    inputs, labels = coloured_digits()
    network = trained(inputs, labels["digit"])
    parts = [(inputs[rows], {name: of[rows] for name, of in labels.items()}) for rows in torch.arange(1797).split(200)]
    return profile(network, parts, metrics=["nc1", "ncc_error", "ncc_mismatch"]).isel(epoch=0, split=0)


def test_both_targets_are_measured_in_one_run_of_the_data(ds):
    assert ds["target"].values.tolist() == ["digit", "colour"]
    assert ds.attrs["forwards"] == 1
    assert ds["nc1"].notnull().all()


def test_what_the_network_was_trained_for_collapses_with_depth(ds):
    digit = ds.sel(target="digit").isel(layer=slice(0, 3))
    for name in ("nc1", "ncc_error"):
        assert (digit[name].diff("layer") < 0).all()
        assert digit[name][-1] < digit[name][0] / 2


def test_what_it_was_not_trained_for_is_lost_with_depth(ds):
    colour = ds["nc1"].sel(target="colour").isel(layer=slice(0, 3))
    assert (colour.diff("layer") > 0).all()
    # A nearest mean that knew nothing of three colours would be wrong for two of three.
    assert ds["ncc_error"].sel(target="colour")[0] < 0.1 < 0.3 < ds["ncc_error"].sel(target="colour")[-1]


def test_predictions_are_compared_with_the_target_that_they_are_of(ds):
    assert ds["ncc_mismatch"].sel(target="digit").notnull().all()
    assert ds["ncc_mismatch"].sel(target="colour").isnull().all()
