"""Outputs of a network that are no row a sample in every batch, or that would do for a target alike."""

from __future__ import annotations

import logging

import pytest
import torch
from helpers.networks import blobs, loader
from torch import Tensor, nn

from layerwise.errors import InvalidData
from layerwise.profiling import profile


class Squeezing(nn.Module):
    """Drops the axis of a batch of one."""

    def __init__(self, outputs: int, inside: bool = False) -> None:
        super().__init__()
        self.first, self.fc, self.inside = nn.Linear(8, 16), nn.Linear(16, outputs), inside

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs).relu()
        return self.fc(hidden.squeeze()) if self.inside else self.fc(hidden).squeeze()


class TwoHeads(nn.Module):
    """The output and an auxiliary one, of as many scores."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.fc, self.auxiliary = nn.Linear(8, 16), nn.Linear(16, 3), nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.first(inputs).relu()
        return self.fc(hidden), self.auxiliary(hidden)


@pytest.mark.parametrize("outputs", [3, 1])
@pytest.mark.parametrize("size", [59, 20])
def test_an_output_that_loses_a_batch_of_one_is_refused(outputs: int, size: int) -> None:
    inputs, labels = blobs()
    data = loader(inputs, labels if outputs > 1 else inputs[:, 0], size)
    if size == 59:
        with pytest.raises(InvalidData, match=r"one of 1 has none. A squeeze may drop.*drop_last=True"):
            profile(Squeezing(outputs), data)
    else:
        profile(Squeezing(outputs), data)


def test_a_layer_that_loses_a_batch_of_one_says_why() -> None:
    with pytest.raises(InvalidData, match=r"for a batch of 1 samples; a squeeze may have dropped"):
        profile(Squeezing(3, inside=True), loader(*blobs(), 59), metrics=["nc1_trace"])


def test_one_target_and_two_outputs_alike_are_not_guessed(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network, (inputs, labels) = TwoHeads(), blobs()
    with caplog.at_level(logging.WARNING, "layerwise"):
        ds = profile(network, [(inputs, labels)], metrics=["nc1_trace"])
    assert ds["network_error"].isnull().all()
    assert any("heads={'label': name} says whose they are" in line for line in caplog.messages)
    for place, head in enumerate(("fc", "auxiliary")):
        told = profile(network, [(inputs, labels)], metrics=["nc1_trace"], heads={"label": head})
        wrong = (network(inputs)[place].argmax(1) != labels).double().mean().item()
        assert told["network_error"].item() == pytest.approx(wrong)


def test_classes_that_training_lacks_are_told(caplog: pytest.LogCaptureFixture) -> None:
    inputs, labels = blobs()
    data = {"train": [(inputs[labels < 2], labels[labels < 2])], "test": [(inputs, labels)]}
    with caplog.at_level(logging.WARNING, "layerwise"):
        profile(nn.Linear(8, 3), data, metrics=["ncc_error"])
    assert any("in split 'test' without a sample in 'train': 1" in line for line in caplog.messages)
