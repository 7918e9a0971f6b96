"""A network that was trained on real measurements collapses onto the directions of its targets."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from layerwise.profiling import profile

from .fetch import folder


class Perceptron(nn.Module):
    """Three hidden layers and a head, on inputs in units of their spread."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", inputs.mean(0))
        self.register_buffer("spread", inputs.std(0))
        widths = [inputs.shape[1], 64, 64, 64]
        pairs = pairwise(widths)
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(one, other), nn.ReLU()) for one, other in pairs))
        self.head = nn.Linear(64, targets.shape[1])

    def forward(self, inputs: Tensor) -> Tensor:
        values: Tensor = self.head(self.layers((inputs - self.centre) / self.spread))
        return values


def river_flow(split: str) -> tuple[Tensor, Tensor]:
    """The 64 features and the 8 targets of a split, rows with gaps among them."""
    rows = torch.tensor(pd.read_parquet(folder() / "river-flow" / f"{split}.parquet").to_numpy())
    return rows[:, :-8].float(), rows[:, -8:]


@pytest.mark.real("river-flow")
def test_a_network_for_river_flow_collapses_with_depth_where_weights_decay() -> None:
    (inputs, targets), (unseen, others) = river_flow("train"), river_flow("test")
    centre, spread = targets.mean(0), targets.std(0, correction=0)
    splits = {"train": (inputs, (targets - centre) / spread), "test": (unseen, (others - centre) / spread)}
    loaders = {name: list(zip(*(part.split(256) for part in pair), strict=True)) for name, pair in splits.items()}
    whole = inputs.isfinite().all(1)
    given, wanted = inputs[whole], splits["train"][1][whole].float()
    found = []
    for decay in (3e-3, 0.0):
        torch.manual_seed(0)
        network = Perceptron(given, targets)
        fit(network, given, wanted, decay)
        found.append(profile(network, loaders, nonfinite="drop").isel(epoch=0, target=0))
    collapsed, control = (ds.sel(split="train", layer=["layers.0", "layers.1", "layers.2"]) for ds in found)
    assert found[0].attrs["passes"] == 1
    assert json.loads(found[0].attrs["left_out"])["train"]["layers.0"] == 60
    assert collapsed["target_dimensions"] == 6
    assert (collapsed["network_mse"] < 0.06) & (control["network_mse"] < 0.06)
    assert (np.diff(collapsed["nrc1"]) < 0).all()
    last, last_control = collapsed.isel(layer=-1), control.isel(layer=-1)
    assert last["nrc1"] < 0.015 < 0.03 < last_control["nrc1"]
    assert last["nrc3_alignment"] > 0.7 > 0.6 > last_control["nrc3_alignment"]
    assert last["target_rank"] < 10 < last_control["target_rank"]
    assert (found[0]["linear_r2"].sel(split="train") > 0.9).all()


def fit(network: nn.Module, inputs: Tensor, targets: Tensor, decay: float) -> None:
    """Train on the mean squared error; biases go free, and move the rectifiers to where they are linear."""
    weights, biases = ([p for p in network.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases}]
    optimiser = torch.optim.SGD(groups, 0.03, momentum=0.9)
    for _ in range(120):
        for rows in torch.randperm(len(inputs)).split(256):
            optimiser.zero_grad()
            (network(inputs[rows]) - targets[rows]).square().mean().backward()
            optimiser.step()
