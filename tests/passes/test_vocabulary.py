"""Ids that occur take rows, batch by batch, which are sorted at the end of a split and then stay."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerwise.errors import NotRepeatable
from layerwise.passes.vocabulary import Vocabulary, expected_classes

IDS = st.lists(st.integers(0, 2**40), min_size=1, max_size=30)


def encoded(vocabulary: Vocabulary, labels: list[int], cuts: list[int]) -> torch.Tensor:
    """Rows of labels that come in batches, as they are once the split is settled."""
    batches = torch.tensor(labels).tensor_split([min(cut, len(labels)) for cut in sorted(cuts)])
    rows = torch.cat([vocabulary.encode(batch) for batch in batches])
    return vocabulary.settle(shared=False)[rows]


@given(IDS, st.lists(st.integers(0, 30), max_size=4))
def test_rows_are_the_order_of_the_ids_however_the_data_is_cut(labels, cuts):
    vocabulary = Vocabulary()
    rows = encoded(vocabulary, labels, cuts)
    ordered = sorted(set(labels))
    assert vocabulary.ids.tolist() == ordered
    assert rows.tolist() == [ordered.index(label) for label in labels]


@given(IDS, IDS)
def test_a_later_split_adds_rows_and_moves_none(first, second):
    vocabulary = Vocabulary()
    encoded(vocabulary, first, [])
    before = vocabulary.ids.tolist()
    rows = encoded(vocabulary, second, [3])
    assert vocabulary.ids.tolist() == before + sorted(set(second) - set(first))
    assert vocabulary.ids[rows].tolist() == second
    assert vocabulary.rows(torch.tensor(first)).tolist() == [before.index(label) for label in first]


@given(IDS, st.integers(0, 30))
def test_an_interrupted_run_goes_on_to_the_same_rows(labels, cut):
    whole, stopped, resumed = Vocabulary(), Vocabulary(), Vocabulary()
    encoded(whole, labels, [cut])
    first, second = torch.tensor(labels).tensor_split([min(cut, len(labels))])
    stopped.encode(first)
    resumed.restore(stopped.state())
    resumed.encode(second)
    resumed.settle(shared=False)
    assert resumed.ids.tolist() == whole.ids.tolist()


def test_declared_classes_are_their_own_rows():
    vocabulary = Vocabulary(4)
    labels = torch.tensor([3, 0, 3])
    assert torch.equal(vocabulary.encode(labels), labels)
    assert vocabulary.settle(shared=False).tolist() == [0, 1, 2, 3]
    assert vocabulary.ids.tolist() == [0, 1, 2, 3]


def test_an_id_that_was_not_there_before_is_refused_in_a_second_run():
    vocabulary = Vocabulary()
    vocabulary.encode(torch.tensor([5, 9]))
    with pytest.raises(NotRepeatable, match="label 7 is in the second run"):
        vocabulary.rows(torch.tensor([5, 7]))


@given(IDS, st.integers(1, 10**6))
def test_how_many_classes_are_expected_knows_nothing_of_their_ids(labels, step):
    own = torch.tensor(labels)
    _, places = own.unique(return_inverse=True)
    assert expected_classes(own) == expected_classes(step * places + 3)
    assert expected_classes(own) >= len(set(labels))


def test_classes_that_a_first_batch_missed_are_expected():
    generator = torch.Generator().manual_seed(0)
    assert 400 < expected_classes(torch.randint(0, 1000, (64,), generator=generator)) < 2500
