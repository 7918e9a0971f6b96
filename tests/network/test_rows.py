"""Batches of some of the samples of another: everything with a row for each sample is cut alike."""

from __future__ import annotations

import torch

from layerwise.adapters.protocol import Batch
from layerwise.network.rows import first_samples, has_rows, part_of, with_rows

MASK = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 1]])


def batch() -> Batch:
    inputs = {"ids": torch.arange(12).reshape(4, 3), "table": torch.arange(3), "scale": torch.tensor(2.0)}
    return Batch(inputs, {"class": torch.arange(4)}, 4, MASK, {"mask": MASK, "other": MASK.flip(0)})


def test_rows_come_in_the_order_asked_for_and_may_repeat():
    rows = [2, 0, 2]
    part = with_rows(batch(), rows)
    assert part.size == 3
    assert torch.equal(part.inputs["ids"], batch().inputs["ids"][rows])
    assert torch.equal(part.labels["class"], torch.tensor(rows))
    assert torch.equal(part.mask, MASK[rows])
    assert torch.equal(part.masks["other"], MASK.flip(0)[rows])


def test_tensors_without_a_row_for_each_sample_are_kept_whole():
    part = with_rows(batch(), [1])
    assert torch.equal(part.inputs["table"], torch.arange(3))
    assert part.inputs["scale"] == 2


def test_a_part_ends_with_the_batch():
    part = part_of(batch(), 3, 10)
    assert part.size == 1
    assert part.labels["class"].tolist() == [3]


def test_the_parts_of_a_batch_make_the_batch():
    parts = [part_of(batch(), start, start + 3) for start in (0, 3)]
    assert torch.equal(torch.cat([part.inputs["ids"] for part in parts]), batch().inputs["ids"])
    assert sum(part.size for part in parts) == 4


def test_first_samples_are_the_rows_in_front():
    first, rows = first_samples(batch(), 2), with_rows(batch(), [0, 1])
    assert torch.equal(first.inputs["ids"], rows.inputs["ids"])
    assert first_samples(batch(), 9).size == 4


def test_a_batch_without_a_mask_has_none_in_its_parts():
    part = with_rows(Batch(torch.ones(4, 2), {}, 4), [0])
    assert part.mask is None
    assert part.masks == {}


def test_a_scalar_has_no_rows():
    assert not has_rows(torch.tensor(1.0), 1)
    assert has_rows(torch.ones(1), 1)
