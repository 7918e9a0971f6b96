"""What the tests of bad inputs share: a network, its data and its profile, and a look at all that must not change."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from helpers.command_line import type_in  # noqa: F401
from helpers.networks import Perceptron, blobs, loader
from torch import nn

import layerwise as lw


def state_of(network: nn.Module) -> dict[str, Any]:
    """Everything that a call must leave as it was: hooks, modes, weights, buffers, gradients, and random numbers."""
    modules = list(network.modules())
    return {
        "hooks": [(len(item._forward_hooks), len(item._forward_pre_hooks)) for item in modules],
        "modes": [item.training for item in modules],
        "weights": {name: value.detach().numpy().tobytes() for name, value in network.state_dict().items()},
        "devices": [str(value.device) for value in network.parameters()],
        "gradients": [value.grad for value in network.parameters()],
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
        "grad": torch.is_grad_enabled(),
    }


@pytest.fixture(scope="session")
def trained() -> nn.Module:
    """One network for all rows, in training mode but for a part of it."""
    torch.manual_seed(0)
    network = Perceptron()
    network.train()
    network.second.eval()
    return network


@pytest.fixture
def network(trained: nn.Module) -> Iterator[nn.Module]:
    """The network; the test fails if anything about it is another afterwards."""
    before = state_of(trained)
    yield trained
    after = state_of(trained)
    assert [name for name in before if before[name] != after[name]] == []


@pytest.fixture(scope="session")
def data() -> list[Any]:
    """Batches of three classes."""
    return loader(*blobs())


@pytest.fixture(scope="session")
def ds(trained: nn.Module, data: list[Any]) -> xr.Dataset:
    """A profile of the network."""
    metrics = ["nc1", "ncc_error", "separation", "class_norm", "class_count", "network_error"][:5]
    return lw.profile(trained, data, metrics=metrics, jackknife=2, check=False)
