import json

import pytest
import torch
import transformers
from helpers.derived_cases import with_attributes
from helpers.profiles import made_up

from layerwise.derive import compare
from layerwise.errors import InvalidData
from layerwise.profiling import profile


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"regression": {"label": 2}}, {}, "'label' is regression of 2 numbers in one, classes in the other"),
        (
            {"regression": {"label": 2}},
            {"regression": {"label": 3}},
            "of 2 numbers in one, regression of 3 numbers",
        ),
        ({"classes": {"label": ["0", "1"]}}, {"classes": {"label": ["0", "1", "2"]}}, "2 classes .* 3 classes"),
        (
            {"classes": {"label": ["cat", "dog"]}},
            {"classes": {"label": ["dog", "cat"]}},
            r"2 classes \(cat, dog\) in one, 2 classes \(dog, cat\)",
        ),
        ({"classes": {"label": 5000}}, {"classes": {"label": 4000}}, "5000 classes"),
    ],
)
def test_unlike_targets_are_refused(first, second, message):
    with pytest.raises(InvalidData, match=f"unlike targets: .*{message}"):
        compare(with_attributes(**first), with_attributes(**second))


def test_numbered_classes_match_named_ones():
    named, numbered = {"label": ["cat", "dog"]}, {"label": ["0", "1"]}
    assert "differs" not in compare(with_attributes(classes=named), with_attributes(classes=numbered)).attrs


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ({"samples": {"train": 60}}, {"samples": {"train": 40}}, "samples"),
        ({"source_fingerprint": "ab"}, {"source_fingerprint": "cd"}, "data"),
        ({"label_fingerprint": {"train": "ab ef"}}, {"label_fingerprint": {"train": "cd ef"}}, "data"),
        ({"data": "digits"}, {"data": "faces"}, "data"),
        ({"data_fingerprint": {"train": "ab"}}, {"data_fingerprint": {"train": "cd"}}, "inputs"),
        ({"ridge": 1e-3}, {"ridge": 1.0}, "ridge"),
        ({"precision": "float32"}, {"precision": "bfloat16"}, "precision"),
        ({}, {"ignore_index": "[-100]"}, "ignore_index"),
    ],
)
def test_differences_are_recorded_and_refused_if_strict(first, second, what):
    a, b = with_attributes(**first), with_attributes(**second)
    found = json.loads(compare(a, b).attrs["differs"])
    assert list(found) == [what]
    assert all(found[what])
    with pytest.raises(InvalidData, match=f"strict: the profiles differ in {what} "):
        compare(a, b, strict=True)
    compare(a, a, strict=True)


def test_other_preprocessing_is_not_other_data():
    of = [
        with_attributes(source_fingerprint="ab", data_fingerprint={"train": size}, preprocessing=f"{size} pixels")
        for size in ("224", "384")
    ]
    assert json.loads(compare(*of).attrs["differs"]) == {"preprocessing": ["224 pixels", "384 pixels"]}


def test_equal_data_under_another_name_is_no_difference():
    a, b = (with_attributes(data=name, data_fingerprint={"train": "ab"}) for name in ("here", "there"))
    assert "differs" not in compare(a, b, strict=True).attrs


def test_pooling_is_compared_layer_by_layer_without_vectors():
    a, b = made_up(layers=3), made_up(layers=3)
    a = a.assign_coords(reduction=("layer", ["mean", "mean", "flatten"]), shape=("layer", ["5x4", "5x4", "4"]))
    b = b.assign_coords(reduction=("layer", ["mean", "cls", "flatten"]), shape=("layer", ["5x4", "5x4", "4"]))
    found = compare(a, b)
    assert json.loads(found.attrs["differs"]) == {"pooling": ["mean", "cls"]}
    assert found["other_reduction"].values.tolist() == ["mean", "cls", "flatten"]
    assert found["reduction"].values.tolist() == ["mean", "mean", "flatten"]


def test_other_splits_and_targets_are_recorded():
    a, b = made_up(targets=("fine", "coarse")), made_up(splits=("train",), targets=("coarse",))
    found = json.loads(compare(a, b).attrs["differs"])
    assert found == {"targets": ["fine, coarse", "coarse"], "splits": ["train, test", "train"]}


def test_mean_and_class_token_profiles_of_a_network_differ():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
    )
    model = transformers.BertForSequenceClassification(config).eval()
    data = [{"input_ids": torch.randint(3, 20, (12, 7)), "labels": torch.arange(12) % 3}]
    own, mean = profile(model, data, metrics="nc1"), profile(model, data, metrics="nc1", reduce="mean")
    assert json.loads(compare(own, mean).attrs["differs"]) == {"pooling": ["cls", "mean"]}
    assert "differs" not in compare(own, own).attrs
