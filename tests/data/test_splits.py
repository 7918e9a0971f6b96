from __future__ import annotations

import pytest

from layerwise.data.splits import split_named, with_train


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("train", "Train", "TRAINING", "train_set", "TrainSet", "training-images"), "train"),
        (("val", "valid", "Validation", "dev", "val_split"), "val"),
        (("test", "Testing", "test_data", "TEST"), "test"),
        (("trains", "bus", "tests", "valley", "", "set", "data", "retrain"), None),
    ],
)
def test_usual_names_are_known_in_any_case(names: tuple[str, ...], split: str | None) -> None:
    assert {split_named(name) for name in names} == {split}


def test_two_training_splits_keep_their_names() -> None:
    assert with_train({"train": 1, "Training": 2}) == {"train": 1, "Training": 2}
    assert with_train({"x": 1, "TRAIN": 2}) == {"x": 1, "train": 2}
