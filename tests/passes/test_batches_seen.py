"""What a batch holds and how it was cut is in its digests; where it lies is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from layerwise.adapters.protocol import Batch
from layerwise.passes.batches_seen import BatchesSeen, digest_of

X = torch.arange(12.0).reshape(4, 3)
Y = torch.tensor([0, 1, 2, 0])


def batch(inputs: Any = X, labels: Any = Y, mask: Any = None) -> Batch:
    return Batch(inputs, {"class": labels}, len(labels), mask)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (X, X.flip(0)),
        (X, X.reshape(3, 4)),
        (X, X.double()),
        ({"a": X}, {"b": X}),
        ((X, Y), (Y, X)),
        ([X[:2], X[2:]], [X[:3], X[3:]]),
        (["a", "bc"], ["ab", "c"]),
        ({"a": 1}, {"a": True}),
        (SimpleNamespace(x=X), SimpleNamespace(x=X + 1)),
        (X.to_sparse(), (X + 1).to_sparse()),
        (np.zeros(3), np.ones(3)),
        (X * 1j, X * 2j),
    ],
)
def test_what_differs_has_another_digest(one: Any, other: Any) -> None:
    assert digest_of(one) != digest_of(other)
    assert digest_of(one) == digest_of(one)


def test_strides_and_the_order_of_keys_do_not_count() -> None:
    assert digest_of({"a": X, "b": Y}) == digest_of({"b": Y, "a": X})
    assert digest_of(X) == digest_of(X.T.contiguous().T)


def test_an_object_may_point_back_to_itself() -> None:
    graph = SimpleNamespace(x=X)
    graph.store = SimpleNamespace(parent=graph, y=Y)
    before = digest_of(graph)
    graph.store.y = Y + 1
    assert digest_of(graph) != before


@pytest.mark.parametrize(
    ("second", "difference"),
    [
        (batch(), ""),
        (batch(X[:3], Y[:3]), "batch 1 has 3 samples, and had 4"),
        (batch(X + 1), "batch 1 has other inputs, or comes in another order"),
        (batch(labels=Y.flip(0)), "batch 1 has other labels, or comes in another order"),
        (batch(X.flip(0), Y.flip(0)), "batch 1 has other inputs and labels, or"),
        (batch(mask=torch.ones(4, 3)), "batch 1 has other inputs"),
        (None, "it has 1 batches, and had 2"),
    ],
)
def test_the_difference_is_named(second: Batch | None, difference: str) -> None:
    seen = BatchesSeen()
    seen.add(batch())
    seen.add(batch())
    again = BatchesSeen(seen.rows)
    assert len(again) == 2
    assert again.difference(0, batch()) == ""
    assert again.difference(1, second).startswith(difference)
    assert bool(again.difference(1, second)) == bool(difference)
    assert "more than the 2 batches" in again.difference(2, batch())
    assert again.difference(2, None) == ""
