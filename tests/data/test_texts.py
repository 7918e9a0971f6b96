"""Every token is labelled with the next real one, whichever side the padding is on."""

from __future__ import annotations

import pytest
import torch

from layerwise.data import next_tokens
from layerwise.errors import InvalidData

IDS = torch.tensor([[4, 7, 5, 9], [6, 8, 3, 2]])


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (None, [[7, 5, 9, -100], [8, 3, 2, -100]]),
        ([[1, 1, 0, 0], [1, 1, 1, 1]], [[7, -100, -100, -100], [8, 3, 2, -100]]),
        ([[0, 0, 1, 1], [0, 1, 1, 1]], [[-100, 5, 9, -100], [8, 3, 2, -100]]),
    ],
)
def test_every_token_has_the_next_as_label(mask, expected):
    batch = {"input_ids": IDS} if mask is None else {"input_ids": IDS, "attention_mask": torch.tensor(mask)}
    made = list(next_tokens([batch, (batch, torch.tensor([0, 1])), {**batch, "labels": IDS}]))
    # What stands on a padding token itself is left out by the mask.
    assert [one["labels"].tolist() for one in made] == [expected] * 3
    assert "labels" not in batch


def test_tokens_alone_will_do_and_the_loader_runs_again():
    loader = next_tokens([(IDS, torch.tensor([0, 1])), IDS])
    assert [len(list(loader)), len(list(loader))] == [2, 2]


def test_what_has_no_tokens_is_refused():
    with pytest.raises(InvalidData, match="input_ids"):
        list(next_tokens([(torch.randn(2, 3), torch.tensor([0, 1]))]))
