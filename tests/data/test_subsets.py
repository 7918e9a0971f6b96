from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.data import read
from layerwise.data.subsets import stratified_order
from layerwise.errors import InvalidData


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_every_prefix_has_the_classes_in_proportion(labels: list[int], data: st.DataObject) -> None:
    values = np.array(labels)
    order = stratified_order(values)
    assert sorted(order) == list(range(len(values)))
    classes, sizes = np.unique(values, return_counts=True)
    count = data.draw(st.integers(len(classes), len(values)))
    drawn = np.array([(values[order[:count]] == label).sum() for label in classes])
    assert drawn.min() >= 1
    # One sample a class is given away beforehand: the shares are exact up to these and rounding.
    assert np.abs(drawn - count * sizes / len(values)).max() <= len(classes)


def test_balanced_classes_stay_balanced() -> None:
    source = read("sklearn:iris?limit=30")
    assert np.bincount(source.splits["train"].labels).tolist() == [10, 10, 10]


def test_a_smaller_limit_is_a_part_of_a_larger_one() -> None:
    small, large = (read(f"sklearn:digits?limit={most}").splits["train"].positions for most in (50, 200))
    assert set(small) < set(large)
    assert (np.diff(large) > 0).all()


def test_what_is_held_out_is_no_longer_in_train() -> None:
    splits = read("sklearn:wine?test=0.25").splits
    train, test = (set(splits[name].positions.tolist()) for name in ("train", "test"))
    assert len(test) == round(0.25 * 178)
    assert train | test == set(range(178))
    assert not train & test
    assert set(splits["train"].labels) == set(splits["test"].labels) == {0, 1, 2}


@pytest.mark.parametrize("options", ["limit=2", "test=0.001", "test=0.999"])
def test_a_draw_that_loses_a_class_is_refused(options: str) -> None:
    with pytest.raises(InvalidData, match="3 classes"):
        read(f"sklearn:iris?{options}")


def test_any_samples_of_a_regression_target_will_do() -> None:
    splits = read("sklearn:diabetes?test=0.25&limit=100").splits
    train, test = (set(splits[name].positions.tolist()) for name in ("train", "test"))
    assert (len(train), len(test)) == (100, 100)
    assert not train & test


def test_another_seed_draws_other_samples_of_the_same_classes() -> None:
    draws = [read(f"sklearn:digits?test=0.2&limit=200&seed={seed}").splits for seed in (0, 0, 3)]
    for split in ("train", "test"):
        first, again, other = (rows[split] for rows in draws)
        assert (first.positions == again.positions).all()
        assert len(set(first.positions) & set(other.positions)) < 100
        assert sorted(set(other.labels)) == list(range(10))
    # What is held out is never in the training split.
    assert not set(draws[2]["train"].positions) & set(draws[2]["test"].positions)
    assert read("sklearn:digits?test=0.2&seed=0").fingerprint == read("sklearn:digits?test=0.2").fingerprint
