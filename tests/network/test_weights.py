"""Weights that accelerate keeps elsewhere are fetched, and the device is where the network runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from layerwise.network.weights import device_of, materialized

accelerate = pytest.importorskip("accelerate")


class OwnParameter(nn.Module):
    """A parameter of the outermost module itself, as the class token of a vision transformer is one."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(3))
        self.inner = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x + self.token)


@pytest.mark.parametrize("build", [OwnParameter, lambda: nn.Linear(3, 3), lambda: nn.Sequential(nn.Linear(3, 3))])
def test_an_offloaded_network_is_on_the_device_that_runs_it(build):
    net = build()
    accelerate.cpu_offload(net, execution_device=torch.device("cpu"))
    assert next(net.parameters()).is_meta
    assert device_of(net) == torch.device("cpu")


def test_a_network_is_on_the_device_of_its_first_parameter():
    assert device_of(nn.Sequential(nn.ReLU(), nn.Linear(3, 3, device="meta"))) == torch.device("meta")
    assert device_of(nn.ReLU()) == torch.device("cpu")


def test_weights_are_offloaded_again_after_an_exception():
    net = OwnParameter()
    accelerate.cpu_offload(net, execution_device=torch.device("cpu"))

    def fail_within() -> None:
        with materialized(net):
            assert torch.equal(net.token.detach(), torch.ones(3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_within()
    assert net.token.is_meta


def test_a_module_with_its_weights_is_left_alone():
    net = nn.Linear(3, 3)
    weight = net.weight
    with materialized(net):
        assert net.weight is weight
