"""Data as loaders, regression targets and names of classes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

from layerwise.adapters import adapter_for
from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidArgument, InvalidData, InvalidLabels, UnknownName
from layerwise.metrics import select
from layerwise.profiling.inputs import (
    Loaders,
    check_classes_for,
    class_names,
    dimensions,
    find_loaders,
    names_of_labels,
    score_names,
)

NETWORK = nn.Linear(4, 3)
BATCHES = [(torch.randn(5, 4), torch.arange(5) % 3), (torch.randn(2, 4), torch.arange(2))]


def loaders(data: Any) -> Loaders:
    return find_loaders(data, NETWORK, adapter_for(NETWORK), 64)


def labelled(**labels: torch.Tensor) -> Batch:
    return Batch({}, labels, len(next(iter(labels.values()))))


def test_one_loader_is_the_training_split():
    assert list(loaders(BATCHES).splits) == ["train"]


def test_splits_keep_their_names_and_order():
    assert list(loaders({"test": BATCHES, "train": BATCHES}).splits) == ["test", "train"]


def test_a_dataset_names_data_and_classes():
    dataset = TensorDataset(*BATCHES[0])
    dataset.classes = ["a", "b", "c"]
    found = loaders(DataLoader(dataset))
    assert (found.name, found.classes) == ("TensorDataset", ("a", "b", "c"))


@pytest.mark.parametrize("classes", [["a", 1], None, object()])
def test_classes_that_are_no_names_are_ignored(classes):
    dataset = TensorDataset(*BATCHES[0])
    dataset.classes = classes
    assert loaders(DataLoader(dataset)).classes == ()


def test_data_by_name_is_batched(tmp_path):
    (tmp_path / "data.csv").write_text("x,y,label\n" + "".join(f"{i},{-i},{'ab'[i % 2]}\n" for i in range(6)))
    network = nn.Linear(2, 2)
    found = find_loaders(f"csv:{tmp_path}/data.csv", network, adapter_for(network), 4)
    assert [len(batch[1]) for batch in found.splits["train"]] == [4, 2]
    assert found.classes == ("a", "b")
    assert found.fingerprint


@pytest.mark.parametrize("data", [3, None, {"train": 3}, {"train": torch.zeros(3)}, {"train": "csv:data.csv"}])
def test_data_without_batches_is_refused(data):
    with pytest.raises(InvalidData, match="data is a name such as"):
        loaders(data)


def test_no_split_is_refused():
    with pytest.raises(InvalidData, match="there is no split"):
        loaders({})


@pytest.mark.parametrize("name", ["", 3])
def test_a_split_without_a_name_is_refused(name):
    with pytest.raises(InvalidArgument, match="a name is printable text"):
        loaders({name: BATCHES})


@pytest.mark.parametrize(("data", "repeatable"), [(BATCHES, True), (iter(BATCHES), False)])
def test_an_iterator_runs_once(data, repeatable):
    assert loaders(data).repeatable is repeatable


def test_the_largest_split_is_counted():
    dataset = TensorDataset(*BATCHES[0])
    assert loaders({"train": BATCHES, "test": DataLoader(dataset)}).most_samples == 7


def test_a_sampler_that_draws_more_than_the_dataset_counts():
    dataset = TensorDataset(*BATCHES[0])
    assert loaders(DataLoader(dataset, sampler=SubsetRandomSampler([0, 1] * 10))).most_samples == 20


def test_a_split_of_unknown_size_leaves_the_largest_unknown():
    assert loaders({"train": BATCHES, "test": iter(BATCHES)}).most_samples is None


@pytest.mark.parametrize(
    ("labels", "reduce", "dimension"),
    [
        (torch.zeros(5), "auto", 1),
        (torch.zeros(5, 2), "auto", 2),
        (torch.zeros(5, 7), "tokens", 1),
        (torch.zeros(5, 7, 2), "tokens", 2),
    ],
)
def test_the_dimension_of_a_regression_target(labels, reduce, dimension):
    assert dimensions(labelled(target=labels), reduce) == {"target": dimension}


def test_integers_have_no_dimension():
    assert dimensions(labelled(target=torch.zeros(5, dtype=torch.int64))) == {}


@pytest.mark.parametrize(
    ("labels", "reduce"),
    [
        (torch.zeros(5, 2, 2), "auto"),
        (torch.zeros(5, 0), "auto"),
        (torch.zeros(5), "tokens"),
        (torch.zeros(5, dtype=torch.complex64), "auto"),
    ],
)
def test_labels_of_another_shape_are_refused(labels, reduce):
    with pytest.raises(InvalidLabels, match="'target'"):
        dimensions(labelled(target=labels), reduce)


KNOWN = Loaders({}, "data", ("a", "b"))


@pytest.mark.parametrize(
    ("declared", "names"),
    [
        (None, {"fine": ("a", "b"), "coarse": ("a", "b")}),
        (2, {"fine": ("0", "1"), "coarse": ("0", "1")}),
        (["x", "y"], {"fine": ("x", "y"), "coarse": ("x", "y")}),
        ({"coarse": 1}, {"fine": ("a", "b"), "coarse": ("0",)}),
    ],
)
def test_declared_classes_replace_those_of_the_data(declared, names):
    assert class_names(declared, KNOWN, ["fine", "coarse", "size"], ["size"]) == names


def test_declared_classes_of_an_unknown_target_are_refused():
    with pytest.raises(UnknownName, match="no target 'fin'; nearest: fine"):
        class_names({"fin": 2}, KNOWN, ["fine"])


@pytest.mark.parametrize("declared", [2, {"size": 2}])
def test_declared_classes_of_a_regression_target_are_refused(declared):
    with pytest.raises(InvalidLabels, match="must be integers"):
        class_names(declared, KNOWN, ["size"], ["size"])


@pytest.mark.parametrize(
    ("labels", "way_out"),
    [(torch.eye(3), r"labels\.argmax\(1\)"), (torch.tensor([0.0, 2.0, 1.0]), r"labels\.long\(\)")],
)
def test_class_metrics_of_floats_say_how_labels_become_classes(labels, way_out):
    with pytest.raises(InvalidLabels, match=way_out):
        check_classes_for(select("nc1"), "nc1", labelled(label=labels))


@pytest.mark.parametrize(
    ("labels", "asked"),
    [
        (torch.tensor([0.5, 1.5]), ["nc1"]),
        (torch.tensor([0.0, 1.0]), None),
        (torch.tensor([0, 1]), ["nc1"]),
    ],
)
def test_class_metrics_that_may_be_meant_are_let_through(labels, asked):
    check_classes_for(select("nc1"), asked, labelled(label=labels))


def test_booleans_and_one_hot_rows_name_their_classes(caplog):
    batch = labelled(yes=torch.tensor([True, False, True]), rows=torch.eye(3, dtype=torch.int64), ids=torch.arange(3))
    assert names_of_labels(batch) == {"yes": ("False", "True"), "rows": ("0", "1", "2")}
    assert "'rows' are one-hot, of 3 classes" in caplog.text


@pytest.mark.parametrize(
    ("named", "names"),
    [
        ({"1": "dog", "0": "cat"}, ("cat", "dog")),
        ({0: "LABEL_0", 1: "LABEL_1"}, ()),
        (None, ()),
    ],
)
def test_score_names_are_those_of_the_configuration(named, names):
    network = nn.Linear(2, 2)
    network.config = SimpleNamespace(id2label=named)
    assert score_names(network) == names
