"""Which item of a batch is its labels: read where there is one way to, else refused with the ways that there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from layerwise.adapters.items import parameters_of, pick_items, split
from layerwise.errors import InvalidData, InvalidLabels
from layerwise.profiling import profile

N = 12
X, Z = torch.randn(N, 8), torch.randn(N, 8)
LABELS, INDEX, WEIGHT = torch.arange(N) % 3, torch.arange(N), torch.rand(N)
PATHS = tuple(f"photos/{number}.png" for number in range(N))
WORDS = ["cat", "dog", "owl"] * 4


class One(nn.Linear):
    """Takes one input."""

    def __init__(self) -> None:
        super().__init__(8, 3)


class Optional(One):
    """Takes one input, and others that nobody needs to give, as networks of transformers do."""

    def forward(self, input: Tensor, mask: Tensor | None = None, labels: Tensor | None = None, **words) -> Tensor:
        return super().forward(input)


class Pair(One):
    """Takes two inputs, of which the second may be a vector."""

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        return super().forward(one) + two.reshape(len(two), -1).double().mean(1, keepdim=True)


class Margin(One):
    """Takes its labels as a second input, as networks with an angular margin do."""

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        return super().forward(input)


def read(raw, model):
    return split(pick_items(raw, None if model is None else parameters_of(model)))


@pytest.mark.parametrize("model", [One(), Optional(), None], ids=["one input", "optional inputs", "unknown"])
@pytest.mark.parametrize(
    ("raw", "readings"),
    [
        ((X, LABELS, INDEX), "item 2 is the labels, .* item 3 is the labels"),
        ([X, LABELS.numpy(), INDEX.numpy()], "item 2 is the labels, .* item 3 is the labels"),
        ((X, LABELS.tolist(), INDEX.tolist()), "item 2 is the labels, .* item 3 is the labels"),
        ((X, INDEX, LABELS), "item 2 is the labels, .* item 3 is the labels"),
        ((INDEX, X, LABELS), "item 1 is the labels, .* item 3 is the labels"),
        ((X, LABELS, WEIGHT), "item 2 is the labels, .* item 3 is the labels"),
        ((X, LABELS[:, None], INDEX[:, None]), "item 2 is the labels, .* item 3 is the labels"),
        ((X, LABELS, {"path": PATHS}), "item 2 is the labels, .* item 3 is the labels"),
        (({"input": X}, LABELS, INDEX), "item 2 is the labels, .* item 3 is the labels"),
        ((X, INDEX, WORDS), "item 2 is the labels, .* item 3 is the labels"),
        ((X, LABELS, INDEX, WEIGHT), "it can be read in 3 ways"),
    ],
)
def test_two_items_that_may_be_labels_are_refused(raw, readings, model):
    with pytest.raises(InvalidData, match=readings) as caught:
        read(raw, model)
    assert "Give pairs, (inputs, labels), or a mapping" in str(caught.value)


@pytest.mark.parametrize("model", [Pair(), Optional(), None], ids=["two inputs", "optional inputs", "unknown"])
def test_two_inputs_that_are_no_labels_are_read(model):
    inputs, labels = read((X, Z, LABELS), model)
    assert inputs[0] is X
    assert inputs[1] is Z
    assert labels is LABELS


@pytest.mark.parametrize("second", [INDEX, WEIGHT, WEIGHT[:, None]])
def test_a_network_that_needs_two_inputs_says_which_item_is_left(second):
    inputs, labels = read((X, second, LABELS), Pair())
    assert inputs[1] is second
    assert labels is LABELS


def test_a_network_that_takes_labels_does_not_make_an_index_one():
    with pytest.raises(InvalidData, match="read in 2 ways"):
        read((X, LABELS, INDEX), Margin())


def test_a_matrix_that_the_network_cannot_take_is_refused():
    with pytest.raises(InvalidData, match="and the network takes 1 input; it can be read in 2 ways"):
        read((X, Z, LABELS), One())


@pytest.mark.parametrize("raw", [(X, LABELS, PATHS), (X, PATHS, LABELS), (X, LABELS, np.array(PATHS), list(PATHS))])
@pytest.mark.parametrize("model", [One(), Optional(), None], ids=["one input", "optional inputs", "unknown"])
def test_paths_are_left_out(raw, model):
    inputs, labels = read(raw, model)
    assert inputs is X
    assert labels is LABELS


@pytest.mark.parametrize("mark", ["idx", "index", "sample_id", "path"])
@pytest.mark.parametrize("model", [One(), Optional()], ids=["one input", "optional inputs"])
def test_the_number_of_a_sample_in_a_mapping_is_left_out(mark, model):
    inputs, labels = read({"image": X, "label": LABELS, mark: PATHS if mark == "path" else INDEX}, model)
    assert inputs is X
    assert labels is LABELS


def test_the_only_input_may_be_called_as_it_will():
    for raw in ({"img": X, "label": LABELS}, {"img": X, "label": LABELS, "idx": INDEX}):
        inputs, labels = read(raw, One())
        assert inputs is X
        assert labels is LABELS


def test_strings_that_are_the_only_input_stay():
    class Texts(nn.Module):
        def forward(self, **batch):
            return batch["text"]

    inputs, _ = read({"text": WORDS, "label": LABELS}, Texts())
    assert inputs == {"text": WORDS}
    inputs, _ = read({"text": WORDS, "input_ids": X, "label": LABELS}, Texts())
    assert set(inputs) == {"input_ids"}


def test_an_entry_that_the_network_takes_stays():
    class Numbered(One):
        def forward(self, input, idx):
            return super().forward(input)

    inputs, _ = read({"input": X, "label": LABELS, "idx": INDEX}, Numbered())
    assert set(inputs) == {"input", "idx"}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"x": X, "label": LABELS, "labels": INDEX}, "its labels are 'labels', or 'label', which differ"),
        ({"x": X, "target": LABELS, "y": INDEX}, "its labels are 'target', or 'y', which differ"),
        ({"x": X, "label": LABELS, "coarse_label": INDEX}, "'label' and 'coarse_label' may be its labels"),
        ({"x": X, "fine_label": LABELS, "coarse_label": INDEX}, "fine_label, coarse_label may be some"),
    ],
)
def test_two_entries_that_may_be_labels_are_refused(raw, message):
    for model in (One(), Optional(), None):
        with pytest.raises(InvalidData, match=message):
            read(raw, model)


def test_labels_that_stand_twice_are_read_once():
    inputs, labels = read({"x": X, "label": LABELS, "labels": LABELS.clone()}, One())
    assert inputs is X
    assert torch.equal(labels, LABELS)


def test_tokens_mask_and_labels_of_every_token_are_read():
    ids = torch.ones(4, 5, dtype=torch.int64)
    inputs, labels = read((ids, ids, 2 * ids), Optional())
    assert len(inputs) == 2
    assert int(labels[0, 0]) == 2


def test_an_index_is_never_measured_as_labels():
    samples = [(X, LABELS, INDEX)]
    with pytest.raises(InvalidData, match="read in 2 ways"):
        profile(One(), samples)
    pairs = [({"input": X}, {"label": LABELS, "index": INDEX})]
    with pytest.raises(InvalidLabels, match="'index' in 12 samples: either the labels are an index"):
        profile(One(), pairs)


def test_paths_and_numbers_beside_the_labels_change_nothing():
    torch.manual_seed(0)
    model = One()
    expected = profile(model, [(X, LABELS)], metrics="nc1")["nc1"].values
    for raw in ((X, LABELS, PATHS), {"image": X, "label": LABELS, "idx": INDEX}):
        assert np.array_equal(profile(model, [raw], metrics="nc1")["nc1"].values, expected)
