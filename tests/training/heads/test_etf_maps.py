"""Maps fixed to an ETF have its Gram matrix behind the turn, and stay as they are in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from layerwise.errors import InvalidArgument
from layerwise.heads import etf_map, fix_to_etf


@pytest.mark.parametrize(("outputs", "inputs", "vectors"), [(9, 9, None), (9, 14, None), (14, 9, 5), (6, 6, 2)])
def test_the_gram_matrix_is_that_of_a_simplex_etf_up_to_a_turn(outputs, inputs, vectors):
    torch.set_default_dtype(torch.float64)
    try:
        weight = etf_map(outputs, inputs, vectors, seed=3)
    finally:
        torch.set_default_dtype(torch.float32)
    count = vectors or min(outputs, inputs)
    expected = torch.zeros(outputs, dtype=torch.float64)
    expected[: count - 1] = count / (count - 1)
    eigenvalues = torch.linalg.eigvalsh(weight @ weight.T).flip(0)
    torch.testing.assert_close(eigenvalues, expected, rtol=0, atol=1e-12)


def test_without_a_turn_of_its_outputs_the_rows_are_the_frame():
    rows = etf_map(5, 12, turn_outputs=False, seed=1)
    gram = 5 / 4 * (torch.eye(5) - 1 / 5)
    torch.testing.assert_close(rows @ rows.T, gram, rtol=0, atol=1e-6)


def test_a_seed_gives_the_same_turns_and_another_gives_others():
    assert torch.equal(etf_map(6, 6, seed=1), etf_map(6, 6, seed=1))
    assert not torch.allclose(etf_map(6, 6, seed=1), etf_map(6, 6, seed=2))


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.AdamW])
def test_a_fixed_map_stays_whatever_an_older_optimiser_does(optimiser):
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    steps = optimiser(network.parameters(), lr=0.1, weight_decay=0.1)
    network(torch.randn(8, 4)).square().sum().backward()
    steps.step()
    fix_to_etf(network[0], scale=2.0)
    before = network[0].weight.clone()
    bias = network[0].bias.clone()
    for _ in range(3):
        steps.zero_grad()
        network(torch.randn(8, 4)).square().sum().backward()
        steps.step()
    assert torch.equal(network[0].weight, before)
    assert not torch.equal(network[0].bias, bias)
    torch.testing.assert_close(before, 2 * etf_map(4, 4))


def test_gradients_pass_through_a_fixed_map():
    linear = fix_to_etf(nn.Linear(4, 3).double())
    inputs = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(linear, (inputs,))


@pytest.mark.parametrize(("module", "vectors"), [(nn.ReLU(), None), (nn.Linear(4, 3), 4), (nn.Linear(4, 3), 1)])
def test_what_cannot_be_fixed_is_refused(module, vectors):
    with pytest.raises(InvalidArgument):
        fix_to_etf(module, vectors)
