"""Networks and data that fail in the middle of a run: one line with place and cause; everything stays as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers.networks import Perceptron, blobs, loader
from torch import Tensor, nn

import layerwise as lw
from layerwise.errors import LayerwiseError, RunFailed
from layerwise.store import open_store


class Failing(nn.Linear):
    """A linear map that fails where its input says so."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Fail on large numbers."""
        if float(inputs.abs().max()) > 100:
            raise KeyError("no such key\nat all")
        return super().forward(inputs)


@pytest.fixture
def failing() -> nn.Module:
    torch.manual_seed(0)
    network = Perceptron()
    network.second[0] = Failing(16, 16)
    network.train()
    return network


def bad_batches() -> list[tuple[Tensor, Tensor]]:
    inputs, labels = blobs()
    return loader(torch.cat([inputs[:40], 1e4 * inputs[40:]]), labels, 20)


class Broken:
    """Batches of which the third cannot be read."""

    def __iter__(self) -> Iterator[Any]:
        yield from loader(*blobs())[:2]
        raise OSError("the disk is gone")


CALLS: list[tuple[str, type[Exception], Callable[[nn.Module], Any]]] = [
    (
        r"^split 'train', batch 2, pass 1: the network failed in layer 'second.0' \(Failing\): KeyError: 'no such key",
        KeyError,
        lambda net: lw.profile(net, bad_batches()),
    ),
    (
        "^split 'train', batch 2, derivatives: the network failed|^split 'train', batch 2, pass 1: the network failed",
        KeyError,
        lambda net: lw.profile(net, bad_batches(), metrics="geometric_complexity"),
    ),
    (
        "^split 'test', batch 2, pass 1: the network failed in layer 'second.0'",
        KeyError,
        lambda net: lw.profile(net, {"train": loader(*blobs()), "test": bad_batches()}),
    ),
    (
        "^split 'train', batch 2, similarity: the network failed in layer 'second.0'",
        KeyError,
        lambda net: lw.similarity(net, bad_batches()),
    ),
    (
        "^split 'train', batch 2, pass 1: reading the data failed: OSError: the disk is gone$",
        OSError,
        lambda net: lw.profile(net, Broken()),
    ),
    (
        "^split 'train', batch 2, labels: reading the data failed: OSError: the disk is gone$",
        OSError,
        lambda net: lw.profile(net, Broken(), null=2),
    ),
    (
        "^split 'train', batch 2, similarity: reading the data failed: OSError",
        OSError,
        lambda net: lw.similarity(net, Broken()),
    ),
    (
        "^split 'train', batch 0, a first look: reading the data failed: ZeroDivisionError",
        ZeroDivisionError,
        lambda net: lw.profile(net, (1 / 0 for _ in range(3))),
    ),
    (
        "^split 'train', batch 2, pass 1: the network failed in layer 'second.0'",
        KeyError,
        lambda net: lw.Tracker(net, bad_batches()).measure(0),
    ),
]


@pytest.mark.parametrize(("message", "cause", "call"), CALLS, ids=[message[:60] for message, _, _ in CALLS])
def test_a_failure_is_told_with_its_place_and_leaves_all_as_it_was(failing, message, cause, call):
    before = {name: value.clone() for name, value in failing.state_dict().items()}
    draws = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    with pytest.raises(RunFailed, match=message) as raised:
        call(failing)
    assert isinstance(raised.value.__cause__, cause)
    assert "\n" not in str(raised.value)
    assert all(torch.equal(value, before[name]) for name, value in failing.state_dict().items())
    assert all(module.training for module in failing.modules())
    assert not any(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in failing.modules())
    assert torch.equal(torch.get_rng_state(), draws[0])
    assert (str(np.random.get_state()), random.getstate()) == draws[1:]


def test_a_failure_in_a_worker_of_the_loader_is_told_by_its_own_words(failing):
    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 40

        def __getitem__(self, place: int) -> Any:
            if place >= 20:
                raise OSError(f"row {place} is gone")
            return torch.zeros(8), place % 3

    batches = torch.utils.data.DataLoader(Rows(), 10, num_workers=1, generator=torch.Generator())
    with pytest.raises(RunFailed, match="batch 2, pass 1: reading the data failed: OSError: row 20 is gone$"):
        lw.profile(failing, batches, check=False)


def test_a_run_that_fails_leaves_the_store_as_it_was(failing, tmp_path):
    with lw.Tracker(failing, bad_batches(), store=tmp_path / "runs.lw") as tracker, pytest.raises(RunFailed):
        tracker.measure(0)
    assert open_store(tmp_path / "runs.lw").runs() == []


class Counting(nn.Module):
    """Counts its forwards in a buffer that each forward replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Count, and hand on."""
        self.count = self.count + 1
        return inputs


def normed(kind: str) -> nn.Module:
    """A network with spectral norm and a counter, in training mode."""
    torch.manual_seed(0)
    norm = nn.utils.spectral_norm if kind == "hook" else nn.utils.parametrizations.spectral_norm
    first, last = Failing(8, 16), nn.Linear(16, 3)
    return nn.Sequential(norm(first), nn.BatchNorm1d(16), nn.ReLU(), Counting(), norm(last)).train()


@pytest.mark.parametrize("kind", ["hook", "parametrization"])
@pytest.mark.parametrize(
    "options", [{}, {"jackknife": 2}, {"metrics": "geometric_complexity", "directions": 1}], ids=str
)
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:fits to no more samples")
def test_a_network_in_training_mode_keeps_every_buffer_to_the_bit(kind, options):
    network = normed(kind)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    places = {name: id(value) for name, value in network.named_buffers()}
    lw.profile(network, loader(*blobs()), **options)
    lw.similarity(network, loader(*blobs()))
    with pytest.raises(LayerwiseError):
        lw.profile(network, bad_batches())
    after = network.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert {name: id(value) for name, value in network.named_buffers()} == places
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("kind", ["parametrization"])
def test_weights_under_spectral_norm_are_measured_as_evaluation_has_them(kind):
    network = normed(kind)
    metrics = ["weight_stable_rank", "condition_number"]
    training = lw.profile(network, loader(*blobs()), metrics=metrics)
    evaluation = lw.profile(network.eval(), loader(*blobs()), metrics=metrics)
    for name in metrics:
        np.testing.assert_array_equal(training[name].values, evaluation[name].values)
