from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from layerwise.data.peek import first_batch, peekable
from layerwise.data.workers import check_workers
from layerwise.errors import InvalidData

# Small machines.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class Stream(IterableDataset[Any]):
    def __init__(self, x: Tensor, shared: bool) -> None:
        self.x = x
        self.shared = shared

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info() if self.shared else None
        start, step = (info.id, info.num_workers) if info is not None else (0, 1)
        for place in range(start, len(self.x), step):
            yield self.x[place], place % 2


def turns(workers: list[list[Tensor]]) -> list[Tensor]:
    """The batches in the order in which a loader gives them: workers take turns, and the ended are left out."""
    longest = max(map(len, workers))
    return [own[place] for place in range(longest) for own in workers if place < len(own)]


def check(workers: list[list[Tensor]]) -> None:
    batches = turns(workers)
    check_workers("train", len(workers), lambda count: batches[:count])


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("size", [3, 8, 100])
def test_workers_that_share_nothing_are_refused(size: int, workers: int) -> None:
    loader = DataLoader(Stream(torch.randn(size, 4), False), batch_size=8, num_workers=workers)
    with pytest.raises(InvalidData, match=r"split 'train' give the same.*num_workers=0.*get_worker_info"):
        peekable(loader, "train")


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_shared_samples_come_once(workers: int) -> None:
    x = torch.randn(50, 4)
    loader = peekable(DataLoader(Stream(x, workers > 1), batch_size=4, num_workers=workers))
    first = first_batch(loader)
    for _ in range(2):
        batches = list(loader)
        assert torch.equal(batches[0][0], first[0])
        found = torch.cat([inputs for inputs, _ in batches])
        assert sorted(found.tolist()) == sorted(x.tolist())


@given(st.integers(2, 4), st.integers(2, 40), st.integers(1, 5), st.data())
def test_only_equal_samples_of_two_workers_are_refused(
    workers: int, size: int, batch: int, data: st.DataObject
) -> None:
    x = torch.arange(size * workers, dtype=torch.float32)
    check([list(x[number::workers].split(batch)) for number in range(workers)])
    check([list(part.split(batch)) for part in x.split(size)])
    twin = data.draw(st.integers(1, workers - 1))
    parts = list(x.split(size))
    parts[twin] = parts[0]
    with pytest.raises(InvalidData):
        check([list(part.split(batch)) for part in parts])


@pytest.mark.parametrize("x", [torch.zeros(64, 2), torch.arange(64) % 3])
def test_few_different_samples_are_warned_of(x: Tensor, caplog: pytest.LogCaptureFixture) -> None:
    check([list(x.split(8)), list(x.split(8))])
    assert "differ too little" in caplog.text


def test_only_bits_that_are_equal_are_the_same() -> None:
    x = torch.randn(64)
    check([list(x.split(8)), list(x.nextafter(torch.tensor(9.0)).split(8))])
    check([list(x.split(8)), list(x.double().split(8))])


@pytest.mark.parametrize(
    "batch",
    [
        {"input_ids": torch.arange(40).reshape(8, 5), "text": [f"text {n}" for n in range(8)]},
        ([f"text {n}" for n in range(8)], list(range(8))),
        (torch.randn(8, 3).bfloat16(), torch.arange(8)),
        [torch.tensor(n) for n in range(8)],
    ],
)
def test_batches_of_every_form_are_compared(batch: Any) -> None:
    with pytest.raises(InvalidData):
        check_workers("train", 2, lambda count: [batch] * 2)
