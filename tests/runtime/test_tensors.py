"""Nested structures of tensors."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import torch

from layerwise.runtime.tensors import leaves, map_tensors, resampled, tensors_of

Pair = namedtuple("Pair", "left right")


def nested() -> dict[str, object]:
    return {"b": [torch.ones(2), "text"], "a": Pair(torch.zeros(1), 3), "array": np.arange(2.0)}


def test_mapping_keeps_the_structure():
    mapped = map_tensors(nested(), lambda tensor: tensor + 1)
    assert isinstance(mapped["a"], Pair)
    assert mapped["b"][0].tolist() == [2.0, 2.0]
    assert mapped["b"][1] == "text"
    assert mapped["array"].dtype == torch.get_default_dtype()


def test_tensors_come_in_the_order_of_mapping():
    assert [tensor.tolist() for tensor in tensors_of(nested())] == [[1.0, 1.0], [0.0], [0.0, 1.0]]


def test_leaves_are_all_values_that_are_not_nested():
    found = list(leaves({"b": [1, (2, "x")], "a": {"c": None}}))
    assert found == [1, 2, "x", None]


def test_leaves_by_key_do_not_depend_on_insertion_order():
    assert list(leaves({"b": 1, "a": 2}, by_key=True)) == list(leaves({"a": 2, "b": 1}, by_key=True)) == [2, 1]


def test_a_leaf_may_itself_be_a_list():
    assert list(leaves([["u", "v"], [1, [2]]], lambda value: value == ["u", "v"])) == [["u", "v"], 1, 2]


def test_resampling_to_the_same_length_changes_nothing():
    mask = torch.tensor([[1, 1, 0, 0, 1]])
    assert torch.equal(resampled(mask, 5), mask)
    assert torch.equal(resampled(mask.repeat_interleave(3, dim=1), 5), mask)
