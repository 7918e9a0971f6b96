"""Other samples, lengths and padding of the same batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from layerwise.adapters.protocol import Batch
from layerwise.network.graph.variations import extents_of, padded, with_extent
from layerwise.network.rows import with_rows

LABELS = {"label": torch.arange(4)}
MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]])


def batch(inputs: Any, mask: Tensor | None = None) -> Batch:
    return Batch(inputs, LABELS, 4, mask)


def sizes_tried(inputs: Any, mask: Tensor | None = None) -> list[list[tuple[int, ...]]]:
    """The first smaller form of the inputs, for each extent."""
    whole = batch(inputs, mask)
    tried = [next(with_extent(whole, extent), None) for extent in extents_of(whole)]
    return [
        [tuple(value.shape[1:]) for value in (one.inputs.values() if isinstance(one.inputs, dict) else [one.inputs])]
        for one in tried
        if one is not None
    ]


def test_everything_with_a_row_for_each_sample_is_cut() -> None:
    inputs = {"x": torch.arange(8).reshape(4, 2), "edges": torch.zeros(2, 9)}
    found = with_rows(batch(inputs, MASK), [3, 0, 3])
    assert found.inputs["x"].tolist() == [[6, 7], [0, 1], [6, 7]]
    assert found.inputs["edges"].shape == (2, 9)
    assert (found.labels["label"].tolist(), found.size) == ([3, 0, 3], 3)
    assert torch.equal(found.mask, MASK[[3, 0, 3]])


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (torch.zeros(4, 3, 64, 96), [[(3, 32, 64)]]),
        (torch.zeros(4, 64, 64, 3), [[(32, 32, 3)]]),
        (torch.zeros(4, 8, 3), [[(6, 3)], [(8, 2)]]),
        (torch.zeros(4, 12), [[(9,)]]),
        (torch.zeros(4), []),
    ],
    ids=["pictures", "channels last", "series", "vectors", "numbers"],
)
def test_inputs_have_the_expected_extents(inputs: Tensor, expected: list[list[tuple[int, ...]]]) -> None:
    assert sizes_tried(inputs) == expected


def test_tokens_and_their_mask_share_a_length_and_pictures_do_not() -> None:
    inputs = {"pixel_values": torch.zeros(4, 3, 32, 32), "input_ids": torch.zeros(4, 8), "attention_mask": MASK}
    assert [(3, 32, 32), (6,), (5,)] in sizes_tried(inputs)
    inputs["input_ids"] = torch.zeros(4, 5)
    assert [(3, 32, 32), (4,), (4,)] in sizes_tried(inputs)


@pytest.mark.parametrize("left", [True, False])
def test_more_padding_is_like_the_batches_own(left: bool) -> None:
    mask = MASK.flip(1) if left else MASK
    ids = torch.where(mask == 1, 7, 99)
    inputs = {"input_ids": ids, "attention_mask": mask, "scores": torch.ones(4, 2)}
    found = padded(batch(inputs, mask), mask, 2, left=left, fillers={})
    assert found is not None
    added, kept = (slice(2), slice(2, None)) if left else (slice(5, None), slice(5))
    assert found.inputs["input_ids"][:, added].eq(99).all()
    assert torch.equal(found.inputs["input_ids"][:, kept], ids)
    assert torch.equal(found.mask, found.inputs["attention_mask"])
    assert found.mask[:, added].eq(0).all()
    assert torch.equal(found.inputs["scores"], inputs["scores"])


def test_padding_of_an_unpadded_batch_is_the_fillers() -> None:
    real = torch.ones_like(MASK)
    inputs = {"input_ids": real, "padding_mask": ~real.bool()}
    found = padded(batch(inputs, real), real, 1, left=False, fillers={0: 5, 1: 1})
    assert found is not None
    assert found.inputs["input_ids"][:, -1].tolist() == [5] * 4
    assert found.inputs["padding_mask"][:, -1].all()


def test_inputs_without_the_masks_length_are_not_padded() -> None:
    assert padded(batch({"x": torch.zeros(4, 7)}, MASK), MASK, 2, left=False, fillers={}) is None
