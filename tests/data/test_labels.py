from __future__ import annotations

import numpy as np
import pytest

from layerwise.data.labels import are_numbers, encode, numbers
from layerwise.errors import EmptyData, InvalidLabels


def test_strings_are_sorted_over_all_splits() -> None:
    labels, classes = encode({"train": np.array(["dog", "ant"]), "test": np.array(["cat"], dtype=object)})
    assert classes == ("ant", "cat", "dog")
    assert labels["train"].tolist() == [2, 0]
    assert labels["test"].tolist() == [1]


@pytest.mark.parametrize(
    ("raw", "classes"),
    [
        (np.array([0, 3, 3], dtype=np.uint8), ("0", "1", "2", "3")),
        (np.array([[0], [3], [3]]), ("0", "1", "2", "3")),
        (np.array([0.0, 3.0, 3.0]), ("0", "1", "2", "3")),
    ],
)
def test_whole_numbers_keep_their_values(raw: np.ndarray, classes: tuple[str, ...]) -> None:
    labels, names = encode({"train": raw})
    assert labels["train"].tolist() == [0, 3, 3]
    assert labels["train"].dtype == np.int64
    assert names == classes


def test_truth_values_are_two_classes() -> None:
    assert encode({"train": np.array([True, True])})[1] == ("False", "True")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (np.array([0.0, 0.5]), "1 of 2 labels of 'train' are no integers, such as 0.5"),
        (np.array([0.0, np.nan]), "no integers, such as nan"),
        (np.array([0, -1]), "down to -1"),
        (np.array(["a", None], dtype=object), "1 of 2 labels of 'train' are missing"),
        (np.array([[0, 1], [1, 0]]), r"shape \(2, 2\)"),
        (np.array([0, 10**9]), "1000000000 is no class"),
        (np.array([0j]), "complex"),
    ],
)
def test_invalid_labels_are_refused(raw: np.ndarray, says: str) -> None:
    with pytest.raises(InvalidLabels, match=says):
        encode({"train": raw})


def test_labels_outside_the_named_classes_are_refused() -> None:
    with pytest.raises(InvalidLabels, match="2 is outside the 2 classes"):
        encode({"train": np.array([0, 2])}, ("a", "b"))


def test_a_split_without_samples_is_refused() -> None:
    with pytest.raises(EmptyData, match="'test'"):
        encode({"train": np.array([0]), "test": np.array([], dtype=int)})


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([0.5, 1.0]), True),
        (np.array([0.5, np.nan]), True),
        (np.array([0.5, None], dtype=object), True),
        (np.array([[1.0, 2.0]]), True),
        (np.array([1.0, 2.0]), False),
        (np.array([1.0, np.nan]), False),
        (np.array([[1.0], [2.0]]), False),
        (np.array([3, 700]), False),
        (np.array(["0.5"]), False),
        (np.array([1, None], dtype=object), False),
    ],
)
def test_fractions_and_several_numbers_are_regression(labels: np.ndarray, expected: bool) -> None:
    assert are_numbers({"train": labels}) is expected


def test_a_missing_number_is_nan() -> None:
    np.testing.assert_array_equal(numbers({"train": np.array([1, None], dtype=object)})["train"], [1, np.nan])


@pytest.mark.parametrize("labels", [np.array(["a"]), np.array([0j]), np.zeros((2, 2, 2))])
def test_what_is_no_number_is_refused(labels: np.ndarray) -> None:
    with pytest.raises(InvalidLabels, match="'train'"):
        numbers({"train": labels})


@pytest.mark.parametrize("labels", [np.array([0, 10**9]), np.array([0, -1]), np.array([0.0, np.nan])])
def test_integers_beyond_classes_hint_at_regression(labels: np.ndarray) -> None:
    with pytest.raises(InvalidLabels, match="task=regression"):
        encode({"train": labels})
