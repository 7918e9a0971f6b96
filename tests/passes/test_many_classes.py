"""Of many declared classes only those that occur take memory, and all of them stay the coordinate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.networks import Perceptron, loader
from torch import Tensor

from layerwise.profiling import profile

WORDS = 1200


def words(samples: int, seed: int, ids: list[int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(ids)[torch.arange(samples) % len(ids)]
    means = torch.randn(WORDS, 8, generator=torch.Generator().manual_seed(9))
    return means[labels] + torch.randn(samples, 8, generator=generator), labels


@pytest.mark.parametrize("options", [{}, {"jackknife": 3}, {"null": 3}])
def test_the_numbers_are_those_of_rows_for_all(options, monkeypatch):
    torch.manual_seed(0)
    network = Perceptron(classes=WORDS).eval()
    # The test split has a word that training lacks.
    data = {"train": loader(*words(120, 0, [3, 700, 41, 1199])), "test": loader(*words(60, 1, [700, 3, 5, 1199]))}
    few = profile(network, data, classes=WORDS, **options)
    monkeypatch.setattr("layerwise.passes.vocabulary.MOST_HELD", WORDS)
    every = profile(network, data, classes=WORDS, **options)
    assert few.sizes["class"] == WORDS
    assert few["class_name"].values.tolist() == every["class_name"].values.tolist()
    assert set(few.data_vars) == set(every.data_vars)
    for name in few.data_vars:
        one, other = few[name].values, every[name].values
        if name == "class_count":
            one, other = np.nan_to_num(one), np.nan_to_num(other)
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12, err_msg=str(name))


def test_a_network_that_is_right_has_no_error_however_many_classes_are_declared():
    class Right(torch.nn.Module):
        """Gives the greatest score to the class that its input names."""

        def __init__(self) -> None:
            super().__init__()
            self.hidden = torch.nn.Linear(1, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            known = torch.nn.functional.one_hot(inputs[:, 0].long(), WORDS).float()
            return known + 0 * self.hidden(inputs).sum(1, keepdim=True)

    labels = torch.tensor([3, 700, 41, 1199])[torch.arange(80) % 4]
    data = loader(labels[:, None].float(), labels)
    found = profile(Right().eval(), data, classes=WORDS, layers=["hidden"], metrics=["ncc_mismatch"], check=False)
    assert found["network_error"].item() == 0


def test_the_memory_is_that_of_the_words_that_occur():
    torch.manual_seed(0)
    data = loader(*words(120, 0, [3, 700, 41, 1199]))
    options = {"metrics": ["nc1", "ncc_mismatch"], "layers": ["first", "second"], "memory": "2MiB"}
    profile(Perceptron(classes=60_000), data, classes=60_000, **options)
