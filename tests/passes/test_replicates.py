"""Replicates keep one order, and the evidence has the names of the metrics' registry."""

from __future__ import annotations

import pytest
import torch

from layerwise.metrics import EVIDENCE
from layerwise.passes import Replicates
from layerwise.passes.evidence import Evidence
from layerwise.passes.target_views import joined_replicates

PARTS = Replicates(1, [2, 3], [4])


def test_the_whole_comes_first_then_groups_then_shuffles():
    assert list(PARTS) == [1, 2, 3, 4]
    assert PARTS.map(str) == Replicates("1", ["2", "3"], ["4"])
    assert PARTS.unshuffled == Replicates(1, [2, 3])


def test_lists_make_the_same_again():
    assert Replicates(**PARTS.lists()) == PARTS


def test_pairs_are_of_the_same_measurement():
    assert PARTS.paired_with(PARTS.map(str)) == Replicates((1, "1"), [(2, "2"), (3, "3")], [(4, "4")])
    with pytest.raises(ValueError, match="shorter"):
        PARTS.paired_with(Replicates(1, [2], [4]))


def test_views_of_batches_join_to_that_of_all_samples():
    views = Replicates(
        {"label": (torch.tensor([0, 1]), None)}, [{"label": (torch.tensor([0, 1]), torch.tensor([True, False]))}]
    )
    joined = joined_replicates([views, views])
    labels, counts = joined.whole["label"]
    assert labels.tolist() == [0, 1, 0, 1]
    assert counts is None
    _, counts = joined.without[0]["label"]
    assert counts is not None
    assert counts.tolist() == [True, False, True, False]


def test_the_evidence_has_the_names_of_the_registry():
    assert set(Evidence.__annotations__) == set(EVIDENCE)
