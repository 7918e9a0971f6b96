"""Masks of padding by their names, and what is said where padding counts."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from helpers import oracle
from torch import Tensor, nn

from layerwise.profiling import profile


class Pooled(nn.Module):
    """Pools over real positions by a mask that is true of padding, as torch has it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.fc = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor, src_key_padding_mask: Tensor) -> Tensor:
        hidden = self.mix(torch.tanh(self.embed(x)))
        real = (src_key_padding_mask == 0)[..., None]
        return self.fc((hidden * real).sum(1) / real.sum(1))


class Odd(Pooled):
    """The same with a name that nobody knows."""

    def forward(self, x: Tensor, holes_mask: Tensor) -> Tensor:
        return super().forward(x, holes_mask)


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    labels = torch.arange(24) % 2
    padding = torch.arange(9) >= torch.randint(2, 9, (24, 1))
    return torch.randn(24, 9, 8) + labels[:, None, None], padding, labels


def ratio(network: nn.Module, inputs: object, labels: Tensor) -> float:
    return profile(network, [(inputs, labels)], metrics=["nc1_trace"], reduce="gap").nc1_trace.sel(layer="mix").item()


def expected(network: Pooled, x: Tensor, padding: Tensor, labels: Tensor) -> float:
    hidden = network.mix(torch.tanh(network.embed(x))).detach().double().numpy()
    rows = [row[~gone] for row, gone in zip(hidden, padding.numpy(), strict=True)]
    return oracle.nc1_trace(np.stack([row.mean(0) for row in rows]), labels.numpy())


@pytest.mark.parametrize("form", ["by name", "by place", "added to scores"])
def test_a_mask_may_be_true_of_padding(form: str) -> None:
    x, padding, labels = drawn()
    network = Pooled().eval()
    added = torch.zeros(padding.shape).masked_fill(padding, -torch.inf)
    inputs = {
        "by name": {"x": x, "src_key_padding_mask": padding},
        "by place": (x, padding),
        "added to scores": {"x": x, "src_key_padding_mask": added},
    }[form]
    assert ratio(network, inputs, labels) == pytest.approx(expected(network, x, padding, labels), rel=1e-5)


def test_padding_under_an_unknown_mask_name_is_counted_and_recorded(caplog: pytest.LogCaptureFixture) -> None:
    x, padding, labels = drawn()
    with caplog.at_level(logging.WARNING, "layerwise"):
        ds = profile(Odd().eval(), [({"x": x, "holes_mask": padding}, labels)], metrics=["nc1_trace"])
    assert "counted where only 'holes_mask' says" in ds.attrs["padding"]
    assert any("'holes_mask'" in line and "attention_mask" in line for line in caplog.messages)


def test_layers_with_a_fixed_length_are_named(caplog: pytest.LogCaptureFixture) -> None:
    class Windowed(nn.Module):
        """Pads its tokens to sixteen, as networks of windowed attention do."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mix, self.fc = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            hidden = self.embed(input_ids) * attention_mask[..., None]
            return self.fc(self.mix(nn.functional.pad(hidden, (0, 0, 0, 16 - hidden.shape[1])))[:, 0])

    mask = torch.arange(9) < torch.randint(2, 9, (24, 1))
    data = [{"input_ids": torch.randint(0, 20, (24, 9)), "attention_mask": mask, "labels": torch.arange(24) % 2}]
    with caplog.at_level(logging.WARNING, "layerwise"):
        ds = profile(Windowed().eval(), data, metrics=["nc1_trace"], reduce="gap")
    assert ds.attrs["padding"].endswith("in layers that follow no mask: mix")
    assert any("layers that follow no mask: mix" in line for line in caplog.messages)
